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


def mean_with_interval(name: str, values: NDArray, samples: int, seed: int) -> dict[str, float]:
    """The mean of values (sequences,) and its interval, as the columns `name`, `name`_low and `name`_high; all NaN if
    there are none, or one is NaN."""
    values = values.astype(float)
    if not len(values) or np.isnan(values).any():
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), float("nan"))
    low, high = interval((values,), mean, samples, seed)
    return {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}


def finite_mean(values: NDArray) -> float:
    """The mean of those values that are finite; NaN if there are none."""
    values = values.astype(float)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


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
