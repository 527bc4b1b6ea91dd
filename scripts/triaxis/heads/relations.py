"""What goes with what over the heads of a model: rank correlations, with intervals over heads within their layers.

Spearman 1904; the bootstrap is stratified (Efron & Tibshirani 1993, chapter 8): each layer's heads are drawn anew from
that layer. docs/method/heads.md, "Does the interaction matter?".
"""

from collections.abc import Mapping

import numpy as np
import scipy
from numpy.typing import NDArray

from triaxis.base.stats import LEAST

Array = NDArray[np.float64]

Measures = Mapping[str, Array]


def related(
    left: Measures, right: Measures, layer: NDArray[np.integer], samples: int, seed: int
) -> dict[tuple[str, str], dict[str, float]]:
    """(left name, right name) -> how two measures (heads,) go together over the heads that have all of `left` and the
    one on the right, and how many these `heads` are.

    r: the rank correlation over these heads. within: that of the ranks within each layer, with each layer's mean rank
    taken from them, which a trend over layers cannot make. Each has the ends of its 95 % bootstrap interval; NaN for
    fewer than LEAST heads, and where one side is constant.
    """
    common = np.isfinite(list(left.values())).all(0)
    found: dict[tuple[str, str], dict[str, float]] = {}
    of_heads: dict[bytes, list[str]] = {}
    for name, values in right.items():
        of_heads.setdefault((common & np.isfinite(values)).tobytes(), []).append(name)
    for mask, names in of_heads.items():
        known = np.frombuffer(mask, dtype=bool)
        own = layer[known]
        # The heads as they are, and then the resamples.
        drawn = np.vstack([np.arange(len(own)), _resamples(own, samples if len(own) >= LEAST else 0, seed)])
        pairs = [(one, other) for one in left for other in names]
        found |= {pair: {"heads": len(own)} for pair in pairs}
        for kind, ranks in (("r", _ranks), ("within", _ranks_within)):
            lefts, rights = (
                {name: ranks(side[name][known][drawn], own) for name in some}
                for side, some in ((left, left), (right, names))
            )
            for one, other in pairs:
                found[one, other] |= _with_ends(kind, _correlations(lefts[one], rights[other]))
    return found


def _with_ends(name: str, values: Array) -> dict[str, float]:
    """The first of values (1 + samples,), and the ends of the interval that the others make."""
    value, others = values[0], values[1:][np.isfinite(values[1:])]
    low, high = np.percentile(others, [2.5, 97.5]) if len(others) and np.isfinite(value) else (np.nan, np.nan)
    return {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}


def _resamples(layer: NDArray[np.integer], samples: int, seed: int) -> NDArray[np.int64]:
    """(samples, heads): each layer's places filled with heads of that layer, so that `layer` stays as it is."""
    generator = np.random.default_rng(seed)
    drawn = np.empty((samples, len(layer)), dtype=np.int64)
    for own in (np.flatnonzero(layer == number) for number in np.unique(layer)):
        drawn[:, own] = own[generator.integers(0, len(own), (samples, len(own)))]
    return drawn


def _ranks(values: Array, layer: NDArray[np.integer]) -> Array:
    """(samples, heads): ranks over all heads, centred."""
    return scipy.stats.rankdata(values, axis=1) - (values.shape[1] + 1) / 2


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
