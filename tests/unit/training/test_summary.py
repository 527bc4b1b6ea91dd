"""The tables of what is learned: each number is a mean that numpy takes too, and a step is one that settles."""

import numpy as np
import pyarrow as pa
import pytest

from triaxis.base import parquet, query, tables
from triaxis.fit.schema import COMPONENTS, FITS
from triaxis.mechanism.schema import ADDITIVITY, PATTERNS
from triaxis.training import summary
from triaxis.training.schema import CHECKPOINT_ATTENTION, CHECKPOINT_LOSSES, CURVES, FLEXIBILITY

MODELS = ["a.seed0.step0", "a.seed0.step20"]
SEQUENCES, LAYERS, HEADS, LENGTH, PAIRS = 6, 2, 3, 12, 8
SCHEMAS = {
    "checkpoint_losses": CHECKPOINT_LOSSES,
    "fits": FITS,
    "additivity": ADDITIVITY,
    "patterns": PATTERNS,
    "checkpoint_attention": CHECKPOINT_ATTENTION,
    "components": COMPONENTS,
    "flexibility": FLEXIBILITY,
}
TEXTS = ["as written", "displaced", "long"]
KEYS = {
    "checkpoint_losses": {"sequence": SEQUENCES, "position": LENGTH},
    "fits": {"sequence": SEQUENCES, "layer": LAYERS, "head": HEADS, "prefix": [6, LENGTH], "axes": ["key", "distance"]},
    "additivity": {
        **{"sequence": SEQUENCES, "layer": LAYERS, "head": HEADS, "prefix": [6, LENGTH]},
        **{"first_token": [True, False], "phases": ["own", "scrambled"], "query": LENGTH},
    },
    "patterns": {
        **{"sequence": SEQUENCES, "layer": LAYERS, "head": HEADS, "first_token": [True, False]},
        "pair": [*range(PAIRS), None],
    },
    "checkpoint_attention": {"sequence": SEQUENCES, "layer": LAYERS, "head": HEADS},
    "components": {
        **{"sequence": SEQUENCES, "layer": LAYERS, "head": HEADS},
        **{"axis": ["key", "distance"], "index": LENGTH},
    },
    "flexibility": {"sequence": SEQUENCES, "text": TEXTS, "first": [1, 2 * LENGTH]},
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory) -> tuple[dict[str, list], dict[str, dict[str, np.ndarray]]]:
    """The files of each stage, and their values: arrays with an axis for the model and one for each key."""
    folder, generator = tmp_path_factory.mktemp("stages"), np.random.default_rng(0)
    files: dict[str, list] = {}
    values: dict[str, dict[str, np.ndarray]] = {}
    for stage, schema in SCHEMAS.items():
        keys = {key: list(range(levels)) if isinstance(levels, int) else levels for key, levels in KEYS[stage].items()}
        shape = tuple(map(len, keys.values()))
        grid = np.array(np.meshgrid(*map(range, shape), indexing="ij")).reshape(len(shape), -1)
        own = {key: [levels[place] for place in grid[n]] for n, (key, levels) in enumerate(keys.items())}
        values[stage] = {
            field.name: generator.uniform(0.1, 0.9, (len(MODELS), *shape)) for field in schema if field.name not in keys
        }
        for model, name in enumerate(MODELS):
            columns = own | {name: array[model].ravel() for name, array in values[stage].items()}
            if stage == "flexibility":  # only long texts have a loss from further on
                columns["text"] = np.where(np.array(own["first"]) > 1, "long", own["text"])
            if stage == "patterns":
                columns["frequency"] = [pair and -1.0 / pair for pair in own["pair"]]
            table = pa.table(
                {field.name: pa.array(columns[field.name]).cast(field.type, safe=False) for field in schema}
            )
            files.setdefault(stage, []).append(folder / stage / f"model={name}" / "shard-0000.parquet")
            parquet.write_parquet(files[stage][-1], table, schema, {})
    return files, values


@pytest.fixture(scope="module")
def rows(stages) -> list[dict]:
    files, _ = stages
    return summary.by_checkpoint(summary.by_sequence(files, LENGTH), MODELS, 100, 0)


def of(rows: list[dict], measure: str, layer: int | None = None, model: int = 1) -> float:
    (row,) = [row for row in rows if (row["model"], row["layer"], row["measure"]) == (MODELS[model], layer, measure)]
    assert row["sequences"] == SEQUENCES and row["value_low"] <= row["value"] <= row["value_high"]
    return row["value"]


def test_the_loss_is_the_mean_over_tokens_and_sequences(rows, stages):
    losses = stages[1]["checkpoint_losses"]["loss"]
    for model in (0, 1):
        assert of(rows, "loss", model=model) == pytest.approx(losses[model].mean())


@pytest.mark.parametrize("layer", [None, 0, 1])
def test_fits_are_those_of_whole_sequences_by_axes(rows, stages, layer):
    own = np.s_[:] if layer is None else np.s_[layer : layer + 1]
    for place, axes in enumerate(["key", "distance"]):
        for measure, column in (("r", "r"), ("adjusted_r2", "adjusted_r2")):
            expected = stages[1]["fits"][column][1, :, own, :, 1, place].mean()
            assert of(rows, f"{measure} {axes}", layer) == pytest.approx(expected)


@pytest.mark.parametrize("layer", [None, 1])
def test_additivity_is_that_of_own_phases_with_the_first_token(rows, stages, layer):
    own = np.s_[:] if layer is None else np.s_[layer : layer + 1]
    found = {name: array[1, :, own, :, 1, 0, 0] for name, array in stages[1]["additivity"].items()}
    for name in ("r_additive", "key_independence", "distance_independence"):
        assert of(rows, name, layer) == pytest.approx(found[name].mean())
    assert of(rows, "interaction", layer) == pytest.approx((1 - found["r_additive"] ** 2).mean())


@pytest.mark.parametrize("layer", [None, 0])
def test_patterns_are_a_heads_first(rows, stages, layer):
    own = np.s_[:] if layer is None else np.s_[layer : layer + 1]
    found = {name: array[1, :, own, :, 0] for name, array in stages[1]["patterns"].items()}
    norms = found["norm_share"][..., :PAIRS]
    # |frequency| falls with the number of the pair, but for pair 0, which stands still: three of eight are slowest.
    slow = norms[..., [0, 6, 7]].sum(-1).mean()
    assert of(rows, "slow_norm_share", layer) == pytest.approx(slow)
    constancy = (norms * found["key_constancy"][..., :PAIRS]).sum(-1) / norms.sum(-1)
    assert of(rows, "key_constancy", layer) == pytest.approx(constancy.mean())
    parts = [found[f"{name}_variance"].sum(-1) for name in ("f", "g", "interaction")]
    for part, name in zip(parts, ("f_share", "g_share"), strict=False):
        assert of(rows, name, layer) == pytest.approx((part / sum(parts)).mean())


def test_attention_is_a_mean_over_heads(rows, stages):
    found = stages[1]["checkpoint_attention"]
    assert of(rows, "previous_token_attention") == pytest.approx(found["previous"][1].mean())
    assert of(rows, "first_token_attention", 1) == pytest.approx(found["first"][1, :, 1].mean())

    assert of(rows, "entropy") == pytest.approx(found["entropy"][1].mean())


@pytest.mark.parametrize("layer", [None, 0])
def test_the_spread_of_a_head_is_over_its_cells(rows, stages, layer):
    own = np.s_[:] if layer is None else np.s_[layer : layer + 1]
    of_heads = stages[1]["components"]["value"][1, :, own, :, 1].reshape(-1, LENGTH)
    cells = np.arange(LENGTH)[:, None] - np.arange(LENGTH)
    spread = [np.std(a[cells[np.tri(LENGTH, dtype=bool)]]) for a in of_heads]
    assert of(rows, "distance_spread", layer) == pytest.approx(np.mean(spread))


def test_words_displaced_are_set_beside_the_same_text_as_written(rows, stages):
    loss = dict(zip(TEXTS, np.moveaxis(stages[1]["flexibility"]["loss"][1, ..., 0], -1, 0), strict=True))
    cost = of(rows, "displacement_cost")
    assert cost == pytest.approx((loss["displaced"] - loss["as written"]).mean())


def test_every_layer_has_a_row_of_each_measure_but_the_losses(rows):
    per_layer = {layer: {row["measure"] for row in rows if row["layer"] == layer} for layer in (None, 0, 1)}
    losses = {"loss", "displacement_cost", "loss_within", "loss_beyond"}
    assert per_layer[0] == per_layer[1] == per_layer[None] - losses and losses < per_layer[None]


# Settling


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([5, 3, 1, 1, 1], 20),
        ([5, 3, 1.41, 1.39, 1], 30),  # a tenth of the range is 0.4
        ([5, 1, 5, 1, 1], 30),  # it left again
        ([5, 4, 3, 2, 1], np.nan),  # it is still moving
        ([1, 1, 1, 1, 1], np.nan),  # it never moves
        ([5, 3, np.nan, 1, 1], np.nan),
        ([0.8, 0.4, 0.79, 0.8, 0.8], 20),  # back to where it began
    ],
)
def test_a_measure_settles_where_it_stays_near_its_end(values, step):
    steps = [0, 10, 20, 30, 40]
    np.testing.assert_equal(summary.settled(steps, values), step)
    order = [3, 0, 4, 1, 2]
    np.testing.assert_equal(summary.settled([steps[n] for n in order], [values[n] for n in order]), step)


def test_two_steps_are_no_course():
    assert np.isnan(summary.settled([0, 10], [5, 1])) and np.isnan(summary.settled([7], [5]))


def course(measure: str, values: list[float], series: str = "a") -> list[dict]:
    return [
        {"model": f"{series}.step{10 * n}", "layer": None, "measure": measure, "value": value}
        for n, value in enumerate(values)
    ]


def test_settling_is_set_beside_the_loss(tmp_path):
    rows = [
        *course("loss", [5, 3, 1, 1, 1]),
        *course("early", [5, 1, 1, 1, 1]),
        *course("late", [5, 5, 5, 1, 1]),
        *course("never", [5, 4, 3, 2, 1]),
        *course("loss", [5, 4, 3, 2, 1], "b"),
        *course("early", [5, 1, 1, 1, 1], "b"),
    ]
    rows.append({"model": "a.step0", "layer": 0, "measure": "early", "value": 9.0})  # a layer's are none of it
    found = {(row["model"], row["measure"]): row for row in summary.settling(rows)}
    assert {key: row["when"] for key, row in found.items()} == {
        ("a.step40", "loss"): "with the loss",
        ("a.step40", "early"): "before the loss",
        ("a.step40", "late"): "after the loss",
        ("a.step40", "never"): "not by the end",
        ("b.step40", "loss"): "not by the end",
        ("b.step40", "early"): "before the loss",
    }
    row = found["a.step40", "late"]
    assert (row["settled"], row["loss_settled"], row["first_value"], row["last_value"]) == (30, 20, 5, 1)
    (tmp_path / "settling.csv").write_text(tables.to_csv(list(found.values())))
    assert tables.from_csv(tmp_path / "settling.csv")[0]["series"] == "a"


def test_courses_are_those_of_one_entry_by_layer_and_seed(rows, tmp_path):
    other = [row | {"model": row["model"].replace("a.seed0", "ab")} for row in rows]
    (tmp_path / "training.csv").write_text(tables.to_csv(rows + other))
    courses = summary.courses(tmp_path / "training.csv", "a")
    steps, values = courses["r_additive"][1]["a.seed0"]
    assert steps.tolist() == [0, 20] and values[1] == of(rows, "r_additive", 1)
    assert list(courses["loss"]) == [None] and list(courses["loss"][None]) == ["a.seed0"]


def test_the_losses_of_a_training_say_of_which_series_they_are(tmp_path):
    for series in ("a.seed0", "a.seed1"):
        own = [{"step": 20, "text": "training", "loss": 1.5}, {"step": 0, "text": "held out", "loss": 3.0}]
        path = tmp_path / f"series={series}/curve.parquet"
        parquet.write_parquet(path, pa.Table.from_pylist(own, schema=CURVES), CURVES, {})
    found = summary.loss_curves(sorted(tmp_path.rglob("*.parquet")))
    assert [(row["series"], row["step"], row["text"]) for row in found[:2]] == [
        ("a.seed0", 0, "held out"),
        ("a.seed0", 20, "training"),
    ]
    (tmp_path / "training_loss.csv").write_text(tables.to_csv(found))
    sql = f"SELECT series, step, loss FROM {query.table(tmp_path / 'training_loss.csv')} WHERE loss > 2"
    assert query.rows(sql)[0] == {"series": "a.seed0", "step": 0, "loss": 3.0}
