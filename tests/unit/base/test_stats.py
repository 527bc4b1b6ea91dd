"""Means, their intervals and correlations, where one value is missing or nothing varies."""

import numpy as np
import pytest

from triaxis.base.stats import (
    LEAST,
    finite_mean,
    interval,
    mean,
    mean_with_interval,
    share_interval,
    weighted_correlation,
)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The formula of Wilson 1927, with the normal quantile of 97.5 %."""
    z, share = 1.959963984540054, hits / count
    middle, half = share + z**2 / (2 * count), z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return (middle - half) / (1 + z**2 / count), (middle + half) / (1 + z**2 / count)


@pytest.mark.parametrize(("hits", "count"), [(0, 6), (6, 6), (3, 7), (40, 1000)])
def test_the_interval_of_a_share_is_wilsons_and_has_a_width(hits, count):
    low, high = share_interval(hits, count)
    assert (low, high) == pytest.approx(wilson(hits, count), abs=1e-12)
    assert 0 <= low < high <= 1


@pytest.mark.parametrize("count", [0, 1, LEAST - 1])
def test_few_values_have_no_interval(count):
    assert np.isnan(share_interval(0, count)).all()
    assert np.isnan(interval((np.arange(count, dtype=float),), mean, 100, 0)).all()
    assert np.isfinite(interval((np.arange(LEAST, dtype=float),), mean, 100, 0)).all()
    assert np.isfinite(share_interval(0, LEAST)).all()


def test_a_mean_is_over_what_is_a_number():
    assert finite_mean(np.array([1.0, np.nan, 4.0])) == 2.5
    assert np.isnan(finite_mean(np.array([np.nan]))) and np.isnan(finite_mean(np.array([])))
    assert finite_mean(np.array([1, None, 3], dtype=object)) == 2


def test_a_constant_side_has_no_correlation_whatever_its_size():
    """0.1 is no sum of powers of two: its mean is off by rounding, which must not be taken for a variance."""
    generator, weight = np.random.default_rng(0), np.arange(1.0, 8)
    moving = generator.standard_normal(7)
    still = np.stack([np.full(7, value) for value in (0.0, 0.1, 1e8 / 3, -1e-8 / 3)])
    assert np.isnan(weighted_correlation(still, moving, weight)).all()
    assert np.isnan(weighted_correlation(moving, still[1], weight))
    assert weighted_correlation(1e-9 * moving + 1, moving, weight) == pytest.approx(1, abs=1e-6)


def test_a_mean_and_its_interval_are_columns() -> None:
    values = np.random.default_rng(0).normal(3, 1, 40)
    found = mean_with_interval("r", values, 200, 0)
    assert list(found) == ["r", "r_low", "r_high"]
    assert found["r_low"] < found["r"] < found["r_high"] and found["r"] == pytest.approx(values.mean())


@pytest.mark.parametrize("values", [[], [np.nan]])
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
