"""What heads are called and measured to be, on constructed ones; and the tables made of their rows."""

import numpy as np
import pytest

from triaxis.base import parquet, query
from triaxis.base.stats import mean_with_interval
from triaxis.heads import by_sequence, summary
from triaxis.heads.classes import CLASSES, MOVES, ROLES, classes_of, roles_of
from triaxis.heads.intervals import means
from triaxis.heads.schema import HEADS, MEASURES
from unit.heads import constructed


def rows_of(paths, model="m", samples=200) -> list[dict]:
    stages = ([paths[stage]] for stage in ("head_attention", "fits", "additivity", "patterns"))
    surgery = by_sequence.surgery_of([paths["surgery"]], "f+g") if "surgery" in paths else None
    table = summary.describe(
        by_sequence.values_of(*stages, constructed.LENGTH),
        by_sequence.scores_of([paths["prompt_scores"]]),
        surgery,
        samples,
        0,
    )
    assert table.schema == HEADS
    path = paths["fits"].parents[2] / "heads" / f"model={model}" / "heads.parquet"
    parquet.write_parquet(path, table, HEADS, {"model": model})
    return summary.read_heads([path])


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return constructed.write_stages(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="module")
def heads(paths) -> dict[str, dict]:
    return dict(zip(constructed.HEADS, rows_of(paths), strict=True))


def test_each_constructed_head_gets_its_name(heads):
    """An induction head lives in g, since its keys carry the token before, and a previous-token head in f."""
    assert {name: (row["class"], row["role"]) for name, row in heads.items()} == {
        "positional": ("positional", None),
        "semantic": ("semantic", None),
        "induction": ("semantic", "induction"),
        "previous token": ("positional", "previous_token"),
        "sink": ("sink", None),
        "mixed": ("mixed", None),
    }


def test_the_values_of_a_head_are_means_over_sequences(paths, heads):
    row = heads["semantic"]
    assert (row["layer"], row["head"], row["sequences"], row["prompts"]) == (0, 1, 6, 6)
    values = query.columns(
        f"SELECT * FROM {query.stage()} WHERE head = 1 ORDER BY sequence", files=[paths["head_attention"]]
    )
    for name in ("first_key", "sink_share", "entropy", "distance_attended", "diagonal_trend"):
        expected = mean_with_interval(name, values[name], 200, 0)
        assert {end: row[end] for end in expected} == pytest.approx(expected)
    assert row["slash_distance"] == np.median(values["slash_distance"])
    added = {name: row[f"{name}_adds"] for name in ("distance", "query", "key")}
    assert added == pytest.approx({"distance": 0.1, "query": 0.2, "key": 0.3})
    assert row["diagonal_spread"] == pytest.approx(2.5)


def test_the_shares_are_of_variances_summed_over_queries(paths, heads):
    for first, prefix in ((True, ""), (False, "rest_")):
        values = query.columns(
            f"SELECT * FROM {query.stage()} WHERE head = 5 AND phases = 'own' AND first_token = {first}",
            files=[paths["additivity"]],
        )
        own = [query.where(values, sequence=number) for number in range(constructed.SEQUENCES)]
        parts = {name: np.array([part[f"{name}_variance"].sum() for part in own]) for name in ("f", "g", "interaction")}
        for name, part in parts.items():
            assert heads["mixed"][f"{prefix}{name}_share"] == pytest.approx(np.mean(part / sum(parts.values())))
        r = np.mean([part["r_additive"].mean() for part in own])
        assert heads["mixed"][f"{prefix}r_additive"] == pytest.approx(r)


def test_keys_that_change_places_move_logits_by_all_but_the_share_of_f(paths):
    """Positional: the logits stay where keys change places. Symbolic: they go with the keys. How far a head is from
    either is what g and the interaction hold, or f and the interaction."""
    (layer,) = [layer for layer in constructed.texts() if layer.sequence == 2]
    rotary, number = constructed.ROTARY, constructed.HEADS.index("mixed")
    place = np.arange(constructed.LENGTH)
    turned = np.stack([rotary.rotate(layer.query[number], np.full(len(place), d)) for d in place])
    logits = turned @ rotary.rotate(layer.key[number], np.zeros(len(place), int)).T  # distance, query, key

    own = f"WHERE sequence = 2 AND head = {number} AND phases = 'own' AND first_token"
    values = query.columns(f"SELECT * FROM {query.stage()} {own}", files=[paths["additivity"]])
    parts = {name: values[f"{name}_variance"].sum() for name in ("f", "g", "interaction")}

    # Cyclic swaps of all keys, and of all distances: mean squared changes, in units of that of two logits at random.
    unit = 2 * sum(parts.values()) / len(place)
    stays = np.mean([np.square(logits[:, :, np.roll(place, n)] - logits).mean((0, 2)).mean() for n in place])
    goes = np.mean([np.square(logits[np.roll(place, n)] - logits).mean((0, 2)).mean() for n in place])
    assert 1 - stays / unit == pytest.approx(parts["f"] / sum(parts.values()))
    assert 1 - goes / unit == pytest.approx(parts["g"] / sum(parts.values()))


def test_surgery_is_what_a_head_adds_to_the_same_sequence(heads):
    found = {name: row["surgery_loss"] for name, row in heads.items()}
    assert found["semantic"] == pytest.approx(1) and found["induction"] == pytest.approx(2)
    assert [found[name] for name in ("positional", "previous token", "sink", "mixed")] == [None] * 4
    assert heads["semantic"]["surgery_loss_low"] is None  # of two sequences


def test_few_sequences_decide_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(constructed, "SEQUENCES", 4)
    rows = rows_of(constructed.write_stages(tmp_path, surgery=False))
    assert {(row["class"], row["role"]) for row in rows} == {("undecided", None)}
    assert {row["r_low"] for row in rows} == {None} and {row["surgery_loss"] for row in rows} == {None}


def test_means_of_many_heads_are_those_of_one_at_a_time():
    values = np.random.default_rng(0).standard_normal((7, 5))
    values[2, 3], values[:, 4] = np.nan, np.nan
    found = np.stack(means(values, 300, 1)).T
    for head in range(5):
        expected = list(mean_with_interval("x", values[:, head], 300, 1).values())
        np.testing.assert_allclose(found[head], expected, rtol=1e-12)
    assert np.isnan(means(values[:4, :2], 300, 1)[1]).all() and np.isnan(np.stack(means(values[:0], 300, 1))).all()


def ends(**values: tuple[float, float]) -> dict[str, np.ndarray]:
    return {
        f"{name}_{end}": np.array([own])
        for name, both in values.items()
        for end, own in zip(("low", "high"), both, strict=True)
    }


@pytest.mark.parametrize(
    ("sink", "f", "g", "expected"),
    [
        ((0.6, 0.9), (0.7, 0.8), (0.1, 0.2), "sink"),
        ((0.4, 0.9), (0.7, 0.8), (0.1, 0.2), "undecided"),
        ((0.1, 0.2), (0.7, 0.8), (0.1, 0.2), "positional"),
        ((0.1, 0.2), (0.1, 0.2), (0.61, 0.8), "semantic"),
        ((0.1, 0.2), (0.1, 0.2), (0.59, 0.8), "undecided"),
        ((0.1, 0.2), (0.3, 0.4), (0.3, 0.59), "mixed"),
        ((0.1, 0.2), (np.nan, np.nan), (np.nan, np.nan), "undecided"),
    ],
)
def test_a_class_needs_an_interval_on_one_side(sink, f, g, expected):
    assert classes_of(ends(sink_share=sink, rest_f_share=f, rest_g_share=g)).tolist() == [expected]


def test_a_role_is_the_strongest_whose_interval_lies_above():
    scores = {"previous_token": (0.5, 0.2), "duplicate_token": (0.4, 0.35), "induction": (0.32, 0.31)}
    found = {name: np.array([value]) for name, (value, _) in scores.items()}
    found |= {f"{name}_low": np.array([low]) for name, (_, low) in scores.items()}
    assert roles_of(found) == ["duplicate_token"]
    assert roles_of(found | {f"{name}_low": np.array([np.nan]) for name in ROLES}) == [None]


def test_the_counts_are_of_each_threshold_moved(heads):
    rows = list(heads.values())
    table = summary.class_counts(rows, ["m"])
    assert [row["moved"] for row in table] == list(MOVES)
    assert table[0] | {name: table[0][name] for name in CLASSES} == {
        "model": "m",
        "moved": "none",
        "heads": 6,
        **{"positional": 2, "semantic": 2, "mixed": 1, "sink": 1, "undecided": 0},
        **{"previous_token": 1, "duplicate_token": 0, "induction": 1},
        **{"changed_class": 0, "changed_role": 0},
    }
    assert all(sum(row[name] for name in CLASSES) == 6 for row in table)
    edge = [row | {"rest_f_share_low": 0.58, "rest_f_share_high": 0.59} for row in rows[-1:]]
    moved = {
        row["moved"]: (row["mixed"], row["positional"], row["changed_class"])
        for row in summary.class_counts(edge, ["m"])
    }
    assert moved["none"] == moved["variance +0.05"] == (1, 0, 0) and moved["variance -0.05"] == (0, 1, 1)


def test_the_least_additive_heads_come_first(heads):
    rows = list(heads.values())
    found = summary.least_additive(rows, ["m"])
    values = [row["r_additive"] for row in found]
    assert values == sorted(row["r_additive"] for row in rows if row["r_additive"] is not None)
    assert len(summary.least_additive(rows * 3, ["m"])) == summary.LEAST_ADDITIVE


def test_every_measure_is_a_column_with_its_ends(heads):
    names = [f"{name}{end}" for name, _ in MEASURES for end in ("", "_low", "_high")]
    assert set(names) <= set(heads["mixed"])
