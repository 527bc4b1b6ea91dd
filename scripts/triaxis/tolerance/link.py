"""The link from the mechanism to tolerance: does f alone predict how much a displacement changes a head's logits?

A distance that is off by delta changes a logit by

    w(d + delta, q, k) - w(d, q, k) = Re sum_m q_m conj(k_m) exp(1j t_m d) (exp(1j t_m delta) - 1)

of which f(q, d + delta) - f(q, d), the same with the mean key for k, is what position alone predicts: g does not see
distance. docs/method/tolerance.md, "The link to the mechanism".
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary
from triaxis.logits.features import Features
from triaxis.mechanism.complex_form import Complex, evenly, heads_as_components, inner, turns_at
from triaxis.mechanism.layers import rows_of
from triaxis.tolerance.displacement import Displacement
from triaxis.tolerance.schema import LINKS

Array = NDArray[np.float64]

# Queries of a sequence that are read, evenly spaced; with all keys before each, they sample the causal cells.
SAMPLED_QUERIES = 64


def offset_distribution(displacement: Displacement) -> dict[int, float]:
    """Offset -> probability: what the difference of two random tokens' shifts is, as the feature perturbation draws
    it."""
    values, counts = np.unique(np.subtract.outer(displacement.shift, displacement.shift), return_counts=True)
    return dict(zip(values.tolist(), (counts / counts.sum()).tolist(), strict=True))


def changes(
    query: Complex, key: Complex, turn: Complex, queries: NDArray[np.int64], swing: Complex
) -> tuple[Array, Array]:
    """Change of f and of w in the causal cells below the diagonal, (cells,) each, for one offset.

    query (length, components), scaled, and key (length, components); turn: (length, components), exp(1j t_m p) of the
    positions; queries: which are read; swing: (components,), exp(1j t_m offset) - 1.
    """
    left = query[queries] * turn[queries] * swing
    below = np.arange(len(key)) < queries[:, None]
    return inner(left, key.mean(0) * turn)[below], inner(left, key * turn)[below]


def link_layer(features: Features, rotary: Rotary, displacements: Mapping[float, Displacement]) -> pa.Table:
    """The rows of links/ for one (sequence, layer); displacements: fraction -> that of this sequence.

    predicted, observed: root mean square change of f and of w over cells and offsets. correlation: of the two changes,
    over the same; null if one is constant. Layers in which nothing turns have no rows, nor have fractions that move
    nothing.
    """
    distributions = {
        fraction: offset_distribution(each) for fraction, each in displacements.items() if each.shift.any()
    }
    offsets = np.array(sorted({offset for own in distributions.values() for offset in own} - {0}), dtype=np.int64)
    if not len(rotary.frequency) or not len(offsets):
        return LINKS.empty_table()
    # Of each offset, over the cells: means of the change of f, of w, and of their squares and product.
    weights = np.array([[own.get(offset, 0.0) for offset in offsets] for own in distributions.values()])
    length = features.query.shape[1]
    queries = evenly(length, SAMPLED_QUERIES)
    turn, swings = turns_at(rotary, np.arange(length)), turns_at(rotary, offsets) - 1
    parts: list[dict[str, NDArray]] = []
    for head, query, key in heads_as_components(features, rotary):
        means = []
        for swing in swings:
            f, w = changes(query, key, turn, queries, swing)
            means.append([f.mean(), w.mean(), f @ f / len(f), w @ w / len(w), f @ w / len(f)])
        f, w, ff, ww, fw = (weights @ np.array(means)).T
        variances = (ff - f**2) * (ww - w**2)
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = np.where(variances > 0, (fw - f * w) / np.sqrt(variances), np.nan)
        parts.append(
            {
                "head": np.full(len(distributions), head),
                "fraction": np.array(list(distributions)),
                "predicted": np.sqrt(ff),
                "observed": np.sqrt(ww),
                "correlation": correlation,
            }
        )
    numbers = {"sequence": features.sequence, "layer": features.layer}
    return rows_of(numbers | {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, LINKS)
