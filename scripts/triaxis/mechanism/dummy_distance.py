"""The paper's check in matrix form: what a logit matrix becomes when every distance is the same dummy distance.

W_d[i, j] = w(d, q_i, k_j) over the causal cells. With the distance constant, the distance axis is one constant, and
the fit is b_i + c_j. Its sums over queries and keys are, component by component, products of a vector with a running
sum of the other side's, turned by exp(1j t_m d): so the fit's key component is itself Re sum_m Y_jm exp(1j t_m d), and
one fit a component serves all distances. Han & Ji 2025, section 4; docs/method/mechanism.md, "The dummy-distance
matrix".
"""

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary
from triaxis.base.stats import weighted_correlation
from triaxis.fit.axes import Design, fix_gauge
from triaxis.fit.combinations import FULL
from triaxis.logits.features import Features
from triaxis.mechanism.complex_form import Complex, heads_as_components, rows_of, turns_at
from triaxis.mechanism.schema import DUMMIES

Array = NDArray[np.float64]


def query_sums(query: Complex, key: Complex) -> Complex:
    """sum over j <= i of q_i conj(k_j): (length, components) each -> (length, components)."""
    return query * np.cumsum(key, axis=0).conj()


def key_sums(query: Complex, key: Complex) -> Complex:
    """sum over i >= j of q_i conj(k_j): (length, components) each -> (length, components)."""
    return np.cumsum(query[::-1], axis=0)[::-1] * key.conj()


def distance_sums(query: Complex, key: Complex) -> Complex:
    """sum over j of q_{j+d} conj(k_j): (length, components) each -> (length, components), by the correlation
    theorem."""
    size = 2 * len(query)
    spectrum = np.fft.fft(query, size, axis=0) * np.fft.fft(key, size, axis=0).conj()
    return np.fft.ifft(spectrum, axis=0)[: len(query)]


def true_totals(query: Complex, key: Complex, turn: Complex) -> Array:
    """Sums of the true logit matrix over the cells of each distance, query and key: (3, length), as axes.Sums.

    query, key: (length, components), the query scaled; turn: (length, components), those of distances 0 to length - 1.
    """
    by_distance = (turn * distance_sums(query, key)).real.sum(1)
    turned_query, turned_key = query * turn, key * turn
    by_query, by_key = query_sums(turned_query, turned_key), key_sums(turned_query, turned_key)
    return np.stack([by_distance, by_query.real.sum(1), by_key.real.sum(1)])


def key_spectrum(query: Complex, key: Complex, design: Design) -> Complex:
    """Y (components, length): the key component of W_d is Re sum_m Y_mj exp(1j t_m d), in the gauge of `fix_gauge`.

    In W_d the trend of the key component is identified, in the true matrix it is not: the gauge takes it from both.
    """
    by_axis = np.stack([query_sums(query, key), key_sums(query, key)]).transpose(2, 0, 1)
    totals = np.zeros((2, by_axis.shape[0], 3, len(query)))
    totals[:, :, 1:] = by_axis.real, by_axis.imag
    flat = totals.reshape(-1, 3, len(query))
    component = _solve(design, "query+key", flat)[:, 2].reshape(2, -1, len(query))
    return component[0] + 1j * component[1]


def _solve(design: Design, axes: str, totals: Array) -> Array:
    """The coefficients (n, 3, length) of one combination of axes, in the gauge of `fix_gauge`."""
    return fix_gauge(design.solve(axes, torch.from_numpy(totals)), design.counts).numpy()


def fit_layer(features: Features, rotary: Rotary, distances: NDArray[np.int64], design: Design) -> pa.Table:
    """The rows of dummies/ for one (sequence, layer); design: of all causal cells.

    key_correlation: correlation, over the keys, weighted by their cells, of the key component of W_d with that of the
    true matrix. mean: of W_d over its cells. component: a_d of the true fit, in the stated gauge, which holds the
    matrix's mean. A layer without rotary dimensions gets one row a head, with no distance and only the mean.
    """
    heads = list(heads_as_components(features, rotary))
    turn = turns_at(rotary, np.arange(design.length))
    totals = np.stack([true_totals(query, key, turn) for _, query, key in heads])
    true = _solve(design, FULL, totals)
    if not len(rotary.frequency):
        mean = totals[:, 1].sum(-1) / design.cells
        columns = {name: np.full(len(heads), np.nan) for name in ("distance", "key_correlation", "component")}
        return rows_of(features, [{"head": np.arange(len(heads)), "mean": mean, **columns}], DUMMIES)
    chosen = turn[distances]
    parts: list[dict[str, NDArray]] = []
    for (head, query, key), own in zip(heads, true, strict=True):
        components = (chosen @ key_spectrum(query, key, design)).real
        parts.append(
            {
                "head": np.full(len(distances), head),
                "distance": distances,
                "key_correlation": weighted_correlation(components, own[2], design.counts[2].numpy()),
                "mean": (chosen @ query_sums(query, key).sum(0)).real / design.cells,
                "component": own[0][distances],
            }
        )
    return rows_of(features, parts, DUMMIES)
