"""The figures of the fit where some, or all, heads have constant logits, and so no r."""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from triaxis.base.parquet import MATRIX
from triaxis.fit.combinations import AXES, COMBINATIONS
from triaxis.fit.figures import plot_axes, plot_matrices
from triaxis.fit.schema import COMPONENTS
from triaxis.fit.summary import matrix_examples
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
    figure = plot_matrices(examples)
    assert figure.axes or "constant" in figure.texts[0].get_text()
