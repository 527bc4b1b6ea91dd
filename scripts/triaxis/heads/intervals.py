"""Means over sequences and their intervals, of many heads at once."""

import numpy as np
from numpy.typing import NDArray

from triaxis.base.stats import LEAST, mean_with_interval

Array = NDArray[np.float64]


def means(values: Array, samples: int, seed: int) -> tuple[Array, Array, Array]:
    """The means of values (sequences, heads), and the ends of their 95 % bootstrap intervals over sequences: (heads,)
    each, of each head what `base.stats.mean_with_interval` gives, from the same resamples.

    A head without a value in some sequences has them of the others.
    """
    whole = np.isfinite(values).all(0)
    found = np.full((3, values.shape[1]), np.nan)
    found[:, whole] = _of_whole(values[:, whole], samples, seed)
    for head in np.flatnonzero(~whole):
        found[:, head] = list(mean_with_interval("x", values[:, head], samples, seed).values())
    return found[0], found[1], found[2]


def _of_whole(values: Array, samples: int, seed: int) -> Array:
    count, heads = values.shape
    ends = np.full((2, heads), np.nan)
    if count >= LEAST and heads:
        drawn = np.random.default_rng(seed).integers(0, count, (samples, count))
        often = np.stack([(drawn == number).sum(1) for number in range(count)], axis=1)
        ends = np.percentile(often @ values / count, [2.5, 97.5], axis=0)
    return np.stack([values.mean(0) if count else np.full(heads, np.nan), *ends])
