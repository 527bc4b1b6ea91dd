"""What foretells a cost over checkpoints, beside the loss."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from triaxis.training.criteria import ALL, LATER, MEASURES, ahead, criteria, later_half, verdict


def rows(values: dict[str, list[float]], entry: str = "small") -> list[dict]:
    """Rows of training.csv: a checkpoint for each value."""
    return [
        {"model": f"{entry}.seed{n % 2}.step{n // 2}", "layer": None, "measure": measure, "value": value}
        for measure, own in values.items()
        for n, value in enumerate(own)
    ]


def over_all(*given) -> dict[str, dict]:
    """The rows of all checkpoints, by measure."""
    return {row["measure"]: row for row in criteria(*given) if row["among"] == ALL}


@pytest.fixture
def values() -> dict[str, list[float]]:
    """Of 16 checkpoints: key independence ranks them by the cost, backwards; entropy is noise."""
    generator = np.random.default_rng(0)
    cost = np.sort(generator.uniform(size=16))
    noise = generator.normal(size=(2, 16))
    return {
        "loss": (0.5 * cost + 0.3 * noise[0]).tolist(),
        "displacement_cost": cost.tolist(),
        "key_independence": (-(cost**3)).tolist(),
        "entropy": noise[1].tolist(),
    }


def test_a_rank_correlation_is_that_of_scipy_with_its_interval(values):
    found = over_all(rows(values), 500, 0)
    assert set(found) == {"loss", "key_independence", "entropy"} <= set(MEASURES)
    baseline = abs(spearmanr(values["loss"], values["displacement_cost"]).statistic)
    for measure, row in found.items():
        rank = spearmanr(values[measure], values["displacement_cost"]).statistic
        assert row["rank"] == pytest.approx(rank) and row["ahead"] == pytest.approx(abs(rank) - baseline)
        assert row["rank_low"] <= row["rank"] <= row["rank_high"] and row["checkpoints"] == 16
    assert found["loss"]["verdict"] == "the baseline" and found["loss"]["ahead"] == 0


def test_only_what_ranks_more_closely_than_the_loss_is_better(values):
    found = {measure: row["verdict"] for measure, row in over_all(rows(values), 500, 0).items()}
    assert found["key_independence"] == "better than the loss"
    assert found["entropy"] != "better than the loss"
    assert [verdict(0.1, 0.2), verdict(-0.2, -0.1), verdict(-0.1, 0.1), verdict(np.nan, np.nan)] == [
        *("better than the loss", "worse than the loss", "not told apart", "not told apart")
    ]
    # The same ranks are no better, whichever way they point.
    swapped = values | {"key_independence": (-np.array(values["loss"])).tolist()}
    found = over_all(rows(swapped), 500, 0)
    assert found["key_independence"]["ahead"] == 0 and found["key_independence"]["verdict"] == "not told apart"


def test_entries_are_ranked_apart_and_layers_are_none_of_it(values):
    other = {"loss": [3.0, 1.0, 2.0, 4.0], "displacement_cost": [1.0, 2.0, 3.0, 4.0]}
    layer = {"model": "small.seed0.step0", "layer": 0, "measure": "entropy", "value": 99.0}
    found = [row for row in criteria([*rows(values), layer, *rows(other, "big")], 100, 0) if row["entry"] == "big"]
    assert [(row["measure"], row["among"]) for row in found] == [("loss", ALL), ("loss", LATER)]
    assert found[0]["rank"] == pytest.approx(spearmanr(*other.values()).statistic)
    assert np.isnan(found[0]["rank_low"]), "four checkpoints have no interval"


def test_trained_checkpoints_are_ranked_by_themselves_too(values):
    """What only tells untrained checkpoints from trained ones ranks all of them, and none of the later ones."""
    order = np.arange(16)
    untrained = values | {"entropy": np.where(order < 8, order, 20.0 - order % 3).tolist(), "loss": (-order).tolist()}
    untrained["displacement_cost"] = order.tolist()
    found = {(row["measure"], row["among"]): row for row in criteria(rows(untrained), 500, 0)}
    later = found["entropy", LATER]
    assert found["entropy", ALL]["rank"] > 0.5 and later["checkpoints"] == 8
    assert (
        later["rank"] == pytest.approx(spearmanr(untrained["entropy"][8:], order[8:]).statistic) and later["rank"] < 0.2
    )


def test_the_later_half_is_of_each_seed():
    names = [f"small.seed{seed}.step{step}" for seed in (0, 1) for step in (100, 0, 20)]
    assert later_half(names) == [f"small.seed{seed}.step{step}" for seed in (0, 1) for step in (20, 100)]


def test_two_checkpoints_have_no_rank():
    row = over_all(rows({"loss": [2.0, 1.0], "loss_beyond": [1.0, 2.0]}), 100, 0)["loss"]
    assert row["checkpoints"] == 2 and np.isnan(row["rank"]) and row["cost"] == "loss_beyond"


def test_ahead_is_taken_along_the_last_axis():
    generator = np.random.default_rng(1)
    columns = generator.normal(size=(3, 5, 9))
    each = [ahead(*own) for own in columns.swapaxes(0, 1)]
    np.testing.assert_allclose(ahead(*columns), each)
