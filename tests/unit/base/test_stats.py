"""Means, their intervals and correlations, where one value is missing or nothing varies."""

import numpy as np
import pytest

from triaxis.base.stats import finite_mean, mean_with_interval, weighted_correlation


def test_a_mean_and_its_interval_are_columns() -> None:
    values = np.random.default_rng(0).normal(3, 1, 40)
    found = mean_with_interval("r", values, 200, 0)
    assert list(found) == ["r", "r_low", "r_high"]
    assert found["r_low"] < found["r"] < found["r_high"] and found["r"] == pytest.approx(values.mean())


@pytest.mark.parametrize("values", [[], [1.0, np.nan]])
def test_what_is_not_there_has_no_mean(values: list[float]) -> None:
    assert np.isnan([*mean_with_interval("r", np.array(values), 10, 0).values()]).all()


def test_a_finite_mean_leaves_out_what_is_not() -> None:
    assert finite_mean(np.array([1.0, np.nan, 3.0, np.inf])) == 2
    assert np.isnan(finite_mean(np.array([np.nan])))


def test_a_weight_counts_a_cell_as_often() -> None:
    generator = np.random.default_rng(0)
    left, right, weight = generator.normal(size=(3, 6)), generator.normal(size=6), np.arange(6)
    expected = [np.corrcoef(np.repeat(row, weight), np.repeat(right, weight))[0, 1] for row in left]
    np.testing.assert_allclose(weighted_correlation(left, right, weight.astype(float)), expected)
    assert np.isnan(weighted_correlation(np.ones(6), right, weight.astype(float)))
