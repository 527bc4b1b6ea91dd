"""Statistics that several experiments share: means, intervals, correlations."""

import numpy as np

# SciPy loads scipy.stats when it is first asked for: it takes longer than most figures take to draw.
import scipy
from numpy.typing import NDArray

Array = NDArray[np.float64]


# With fewer, an interval says more about the method than about the data.
LEAST = 5


def interval(columns: tuple[NDArray, ...], statistic, samples: int, seed: int) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """The 95 % percentile bootstrap interval of `statistic(*columns, axis)` over sequences; NaN for fewer than LEAST.

    columns: one array (sequences,) each, resampled together. Efron & Tibshirani 1993, chapter 13.
    """
    if len(columns[0]) < LEAST:
        return float("nan"), float("nan")
    result = scipy.stats.bootstrap(
        columns, statistic, paired=True, vectorized=True, n_resamples=samples, method="percentile", rng=seed
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def mean_with_interval(name: str, values: NDArray, samples: int, seed: int) -> dict[str, float]:
    """The mean of those of values (sequences,) that are numbers and its interval, as the columns `name`, `name`_low and
    `name`_high; NaN if none is."""
    values = values.astype(float)
    values = values[np.isfinite(values)]
    low, high = interval((values,), mean, samples, seed)
    return {name: finite_mean(values), f"{name}_low": low, f"{name}_high": high}


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of the share `hits` of `count` independent trials; NaN for fewer than LEAST.

    It has a width at 0 and 1 too, where resampling sees no other value. Wilson 1927.
    """
    if count < LEAST:
        return float("nan"), float("nan")
    found = scipy.stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def mean(values: NDArray, axis: int = -1) -> NDArray:
    return values.mean(axis)


def finite_mean(values: NDArray) -> float:
    """The mean of the values that are numbers; NaN if none is."""
    values = values.astype(float)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def weighted_correlation(left: Array, right: Array, weight: Array) -> Array:
    """Pearson correlation along the last axis, which `weight` (n,) weighs; NaN if one side is constant, up to
    rounding."""
    weight = weight / weight.sum()
    (left, left_variance), (right, right_variance) = (_centred(values, weight) for values in (left, right))
    variances = left_variance * right_variance
    out = np.full(variances.shape, np.nan)
    return np.divide((left * right) @ weight, np.sqrt(variances), out=out, where=variances > 0)


def rank_correlation(left: NDArray[np.floating], right: NDArray[np.floating], axis: int = -1) -> Array:
    """Spearman's correlation along the last axis, ties at their mean rank; NaN if one side is constant."""
    left, right = (scipy.stats.rankdata(values, axis=-1) for values in np.broadcast_arrays(left, right))
    left, right = (values - values.mean(-1, keepdims=True) for values in (left, right))
    size = np.sqrt((left**2).sum(-1) * (right**2).sum(-1))
    return np.divide((left * right).sum(-1), size, out=np.full(size.shape, np.nan), where=size > 0)


def _centred(values: Array, weight: Array) -> tuple[Array, Array]:
    """`values` less their weighted mean, and their variance, 0 if below rounding."""
    centred = values - (values @ weight)[..., None]
    variance = centred**2 @ weight
    return centred, np.where(variance > 1e-24 * (values**2 @ weight), variance, 0.0)
