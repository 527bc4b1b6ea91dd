"""Statistics that several experiments share: means, intervals, correlations."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

Array = NDArray[np.float64]


def interval(columns: tuple[NDArray, ...], statistic, samples: int, seed: int) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """The 95 % percentile bootstrap interval of `statistic(*columns, axis)` over sequences; NaN for only one.

    columns: one array (sequences,) each, resampled together. Efron & Tibshirani 1993, chapter 13.
    """
    if len(columns[0]) < 2:
        return float("nan"), float("nan")
    result = bootstrap(
        columns, statistic, paired=True, vectorized=True, n_resamples=samples, method="percentile", rng=seed
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def mean(values: NDArray, axis: int = -1) -> NDArray:
    return values.mean(axis)


def weighted_correlation(left: Array, right: Array, weight: Array) -> Array:
    """Pearson correlation along the last axis, which `weight` (n,) weighs; NaN if one side is constant."""
    weight = weight / weight.sum()
    left = left - (left @ weight)[..., None]
    right = right - (right @ weight)[..., None]
    variances = (left**2 @ weight) * (right**2 @ weight)
    out = np.full(variances.shape, np.nan)
    return np.divide((left * right) @ weight, np.sqrt(variances), out=out, where=variances > 0)
