"""The figures of the fit where some, or all, heads have constant logits, and so no r."""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from triaxis.base.parquet import MATRIX
from triaxis.fit.combinations import AXES, COMBINATIONS
from triaxis.fit.figures import plot_axes, plot_matrices, plot_prefixes
from triaxis.fit.schema import COMPONENTS
from triaxis.fit.summary import FROM_ADDITIVE, MatrixExample, matrix_examples
from triaxis.report.style import plot_by_head

FULL = "distance+query+key"
LENGTH = 4


@pytest.fixture(autouse=True)
def _strict():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("r", [[[np.nan, np.nan], [0.5, 0.7]], [[np.nan, np.nan], [np.nan, np.nan]]])
def test_heads_without_a_value_are_left_white(r):
    figure = plot_by_head({"m": np.array(r), "m-random": np.full((2, 2), 0.9)}, "r")
    assert figure.axes[0].get_title() == ("m   mean 0.600" if np.isfinite(r).any() else "m   no values")
    assert np.ma.count_masked(figure.axes[0].images[0].get_array()) == np.isnan(r).sum()


@pytest.mark.parametrize("r", [[np.nan, 0.5, 0.7], [np.nan, 0.5], [np.nan]])
def test_the_distribution_is_of_the_heads_with_a_value(r):
    own = dict.fromkeys(COMBINATIONS, np.array(r))
    figure = plot_axes(
        {"m": own, "m-random": dict.fromkeys(COMBINATIONS, np.array([0.8, 0.9]))}, dict.fromkeys(own, 0.1)
    )
    violins = [body for body in figure.axes[0].collections if type(body).__name__ == "FillBetweenPolyCollection"]
    assert len(violins) == len(COMBINATIONS) * (1 + bool(np.isfinite(r).any()))


@pytest.fixture
def shard(tmp_path):
    """shard(r of each head) -> the files of a shard of one sequence and layer, and the length."""

    def write(r: list[float | None]):
        place = [{"sequence": 0, "layer": 0, "head": head} for head in range(len(r))]
        tables = {
            "fits": [own | {"prefix": LENGTH, "axes": FULL, "r": value} for own, value in zip(place, r, strict=True)],
            "logits": [own | {"query": 1, "key": 0, "logit": 1.5} for own in place],
            "components": [own | {"axis": axis, "index": 0, "value": 1.0} for own in place for axis in AXES],
        }
        files = {name: str(tmp_path / f"{name}.parquet") for name in tables}
        schemas = {
            "components": COMPONENTS,
            "fits": pa.schema([*MATRIX, ("prefix", pa.int32()), ("axes", pa.string()), ("r", pa.float64())]),
        }
        for name, rows in tables.items():
            pq.write_table(pa.Table.from_pylist(rows, schema=schemas.get(name)), files[name])
        return *files.values(), LENGTH

    return write


@pytest.mark.parametrize(
    ("r", "names"),
    [
        ([None, 0.2, 0.9, 0.5], ["best: layer 0 head 2", "median: layer 0 head 3", "worst: layer 0 head 1"]),
        ([0.9, None, 0.5], ["best: layer 0 head 0", "worst: layer 0 head 2"]),
        ([None, 0.5], ["best: layer 0 head 1"]),
        ([None, None], []),
    ],
)
def test_examples_are_heads_that_vary_each_once(shard, r, names):
    examples = matrix_examples(*shard(r))
    assert [example.name for example in examples] == names
    figure = plot_matrices(examples, "m")
    assert figure.axes or "constant" in figure.texts[0].get_text()


def test_thinned_matrices_are_set_beside_the_fit_of_their_positions():
    length, positions = 9, np.arange(0, 9, 3)
    components = np.random.default_rng(0).standard_normal((3, length))
    distance, query, key = components
    logits = np.full((3, 3), np.nan)
    for row, column in zip(*np.tril_indices(3), strict=True):
        i, j = positions[row], positions[column]
        logits[row, column] = distance[i - j] + query[i] + key[j] + 0.5
    figure = plot_matrices([MatrixExample("best", 0, 0.9, positions, logits, components)], "m")
    residual = next(panel for panel in figure.axes if panel.get_title() == "residual")
    np.testing.assert_allclose(residual.images[0].get_array().compressed(), 0.5)
    assert [label.get_text() for label in residual.get_xticklabels()] == ["0", "6"]


def prefix_rows(r: list[float], additive: float) -> dict[str, np.ndarray]:
    ends = {"": np.array(r), "_low": np.array(r) - 0.1, "_high": np.array(r) + 0.1}
    own = {f"mean_r{end}": values for end, values in ends.items()}
    own |= {f"adjusted_r2{end}": values**2 for end, values in ends.items()}
    for name in FROM_ADDITIVE:
        own |= {f"mean_{name}{end}": np.full(len(r), additive) for end in ends}
    return own | {"prefix": np.array([16, 32]), "training_length": np.full(2, 48.0)}


@pytest.mark.parametrize(("additive", "columns"), [(0.9, 2), (np.nan, 1)])
def test_prefixes_show_the_fit_and_what_the_mechanism_found_if_it_was_measured(additive, columns):
    rows = {"m": prefix_rows([0.8, 0.7], additive), "m-random": prefix_rows([0.6, 0.5], additive)}
    figure = plot_prefixes(rows, list(rows))
    assert len(figure.axes) == columns
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["16", "32"]
    drawn = [list(line.get_ydata()) for line in panel.lines]
    assert [0.8, 0.7] in drawn and [0.6, 0.5] in drawn
    assert [48.0, 48.0] in [list(line.get_xdata()) for line in panel.lines]
