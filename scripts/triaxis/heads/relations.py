"""What goes with what over the heads of a model: rank correlations, with intervals over heads within their layers.

Spearman 1904; the bootstrap is stratified (Efron & Tibshirani 1993, chapter 8): each layer's heads are drawn anew from
that layer. docs/method/heads.md, "Does the interaction matter?".
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from triaxis.base.stats import LEAST

Array = NDArray[np.float64]

# Resamples whose ranks are held at once.
PIECE = 256


def related(left: Array, right: Array, layer: NDArray[np.integer], samples: int, seed: int) -> dict[str, float]:
    """How two measures (heads,) go together over the heads that have both, and how many these are.

    r: the rank correlation over all heads. within: that of the ranks within each layer, with each layer's mean rank
    taken from them, which a trend over layers cannot make. Each has the ends of its 95 % bootstrap interval; NaN for
    fewer than LEAST heads, and where one side is constant.
    """
    known = np.isfinite(left) & np.isfinite(right)
    left, right, layer = left[known], right[known], layer[known]
    drawn = _resamples(layer, samples if len(layer) >= LEAST else 0, seed)
    whole = np.arange(len(layer))[None]
    found: dict[str, float] = {"heads": len(layer)}
    for name, ranks in (("r", _ranks), ("within", _ranks_within)):
        value, *others = np.concatenate(
            [
                _correlations(ranks(left[some], layer), ranks(right[some], layer))
                for some in (whole, *np.array_split(drawn, max(1, len(drawn) // PIECE)))
            ]
        )
        known_others = np.array(others)[np.isfinite(others)]
        ends = np.percentile(known_others, [2.5, 97.5]) if len(known_others) and np.isfinite(value) else [np.nan] * 2
        found |= {name: float(value), f"{name}_low": float(ends[0]), f"{name}_high": float(ends[1])}
    return found


def _resamples(layer: NDArray[np.integer], samples: int, seed: int) -> NDArray[np.int64]:
    """(samples, heads): each layer's places filled with heads of that layer, so that `layer` stays as it is."""
    generator = np.random.default_rng(seed)
    drawn = np.empty((samples, len(layer)), dtype=np.int64)
    for own in (np.flatnonzero(layer == number) for number in np.unique(layer)):
        drawn[:, own] = own[generator.integers(0, len(own), (samples, len(own)))]
    return drawn


def _ranks(values: Array, layer: NDArray[np.integer]) -> Array:
    """(samples, heads): ranks over all heads, centred."""
    return rankdata(values, axis=1) - (values.shape[1] + 1) / 2


def _ranks_within(values: Array, layer: NDArray[np.integer]) -> Array:
    """(samples, heads): ranks within each layer, centred there."""
    found = np.empty(values.shape)
    for own in (layer == number for number in np.unique(layer)):
        found[:, own] = _ranks(values[:, own], layer[own])
    return found


def _correlations(left: Array, right: Array) -> Array:
    """(samples,): of centred values (samples, heads); NaN where one side is 0."""
    size = np.sqrt((left**2).sum(1) * (right**2).sum(1))
    return np.divide((left * right).sum(1), size, out=np.full(len(left), np.nan), where=size > 0)
