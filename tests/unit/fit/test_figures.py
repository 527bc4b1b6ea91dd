"""The figures of the fit where some, or all, heads have constant logits, and so no r."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from triaxis.base.parquet import MATRIX
from triaxis.fit.combinations import AXES, COMBINATIONS
from triaxis.fit.figures import plot_axes, plot_distance, plot_matrices, plot_prefixes, plot_scale
from triaxis.fit.schema import COMPONENTS
from triaxis.fit.summary import (
    FEWEST_CELLS,
    FROM_ADDITIVE,
    MatrixExample,
    distance_by_depth,
    matrix_examples,
    scale,
)
from triaxis.report.style import plot_by_head
from unit.drawn import check

FULL = "distance+query+key"
LENGTH = 4


@pytest.fixture(autouse=True)
def _strict():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    plt.close("all")


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


def test_a_first_key_far_off_is_cut_and_marked():
    length, random = 12, np.random.default_rng(0)
    components = random.standard_normal((3, length))
    components[2, 0] = 50.0
    rows, columns = np.tril_indices(length)
    logits = np.full((length, length), np.nan)
    logits[rows, columns] = components[0, rows - columns] + components[1, rows] + components[2, columns]
    figure = plot_matrices([MatrixExample("best", 3, 0.9, np.arange(length), logits, components)], "m")
    shown = figure.axes[0]
    assert shown.get_title() == "logits" and shown.images[0].norm.vmax < 10
    assert "first key: 49" in shown.texts[0].get_text()
    key = next(panel for panel in figure.axes if panel.get_title("right").startswith("key component"))
    assert key.get_ylim()[1] < 10 and key.get_title("right").endswith("50.0")
    assert "m, sequence 3" in figure.get_suptitle()


@pytest.fixture
def components(tmp_path):
    """components(models, length) -> files of 4 layers of 2 heads, which run wild where fewer than 8 cells remain."""

    def write(models: list[str], length: int) -> list[str]:
        files = []
        for model in models:
            files.append(tmp_path / f"model={model}" / "shard-0000.parquet")
            files[-1].parent.mkdir()
            rows = [
                {"sequence": 0, "layer": layer, "head": head, "axis": "distance", "index": distance}
                | {"value": 1e6 if distance > length - FEWEST_CELLS else -layer * np.log1p(distance)}
                for layer in range(4)
                for head in range(2)
                for distance in range(length)
            ]
            pq.write_table(pa.Table.from_pylist(rows, schema=COMPONENTS), files[-1])
        return [str(file) for file in files]

    return write


@pytest.mark.parametrize("length", [40, 2000])
def test_distances_of_few_cells_are_cut_and_layers_stand_in_thirds(components, length):
    depths = distance_by_depth(components(["m"], length))["m"]
    assert [(own.first, own.last) for own in depths] == [(0, 1), (2, 2), (3, 3)]
    for own in depths:
        assert own.distance[:24].tolist() == list(range(24))
        assert length - 60 * length / 1000 - 20 < own.distance[-1] <= length - FEWEST_CELLS
        assert len(own.distance) <= 24 + 16 * np.log2(length / 24) + 1
    assert [len(own.components) for own in depths] == [4, 2, 2]


def test_twenty_models_are_drawn_on_one_scale_within_a_page(components):
    models = [f"m{n}{end}" for n in range(20) for end in ("", "-random")]
    depths = distance_by_depth(components(models, 40))
    figure = plot_distance({model: depths[model] for model in models})
    check(figure)
    assert len({panel.get_ylim() for panel in figure.axes}) == 1
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert len(dashed) == 1


def test_models_are_drawn_by_size_and_the_checkpoints_of_a_series_are_joined():
    models = ["a", "a-random", "s.step8", "s.step0", "s-random"]
    rows = [
        {"model": model, "weights": "random" if model.endswith("random") else "trained", "parameters": 10.0 ** (n + 6)}
        | {f"{name}{end}": 0.5 + n / 10 for name in ("mean_r", "mean_r_additive") for end in ("", "_low", "_high")}
        | dict.fromkeys(["mean_interaction", "mean_interaction_low", "mean_interaction_high"], np.nan)
        for n, model in enumerate(models)
    ]
    figure = plot_scale(rows)
    check(figure)
    assert [panel.get_title() for panel in figure.axes] == ["r", "r_additive"]
    lines = {tuple(line.get_ydata()): line.get_color() for line in figure.axes[0].lines}
    assert (0.8, 0.7) in lines  # step 0, then step 8
    assert lines[0.9,] == lines[0.8, 0.7] != lines[0.5,] == lines[0.6,]
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["a", "s"]


def test_sizes_stand_beside_what_was_found():
    fits = [{"model": "a", "weights": "trained", "mean_r": 0.9, "mean_r_low": 0.8, "mean_r_high": 1.0}]
    (alone,) = scale(fits, {}, {"a": 7})
    assert alone["parameters"] == 7 and alone["mean_r_low"] == 0.8 and np.isnan(alone["mean_interaction"])
    (row,) = scale(fits, {"a": {"mean_interaction": 0.1}}, {"a": 7})
    assert row["mean_interaction"] == 0.1
