"""The three-axis fit of a long text, at every stride-th position.

Of a logit matrix of thousands of positions, every `stride`-th position is taken: their distances are again evenly
spaced, so that the three-axis fit of `axes` holds for them unchanged. docs/method/length.md.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary
from triaxis.fit.axes import Design, fix_gauge
from triaxis.fit.combinations import FULL
from triaxis.length.components import Continued
from triaxis.logits.logits import logits

Array = NDArray[np.floating]

POINTS = 128


def stride_of(length: int) -> int:
    """Every how many-th position is kept of a sequence."""
    return -(-length // POINTS)


def continue_components(query: Array, key: Array, rotary: Rotary, training_length: int) -> Continued:
    """query (heads, length, head_dim), key (key heads, length, head_dim), before rotation, of one layer."""
    length = query.shape[1]
    stride = stride_of(length)
    strided = replace(rotary, frequency=rotary.frequency * stride)
    matrices = logits(query[:, ::stride], key[:, ::stride], strided).astype(np.float64)
    n = matrices.shape[1]
    within = min(n, -(-training_length // stride))
    distance = np.arange(n) * stride
    inside = np.full((len(query), n), np.nan)
    inside[:, :within] = distance_component(matrices[:, :within, :within])
    mean_query, mean_key = (rotary.to_complex(x[:, :training_length].mean(1)) for x in (query, key))
    product = mean_query * np.repeat(mean_key, len(query) // len(key), axis=0).conj()
    turns = np.exp(1j * np.multiply.outer(rotary.frequency, distance))
    closed = rotary.scale * rotary.amplitude**2 * (product @ turns).real
    return Continued(distance, n - np.arange(n), distance_component(matrices), inside, closed)


def distance_component(matrices: Array) -> Array:
    """a_d of the three-axis fit of (heads, n, n) logits, causal cells, in the stated gauge: (heads, n)."""
    n = matrices.shape[1]
    design = Design(n)
    causal = np.tril(matrices)
    diagonals = np.stack([np.trace(matrices, offset=-d, axis1=1, axis2=2) for d in range(n)], axis=1)
    totals = torch.from_numpy(np.stack([diagonals, causal.sum(2), causal.sum(1)], axis=1))
    return fix_gauge(design.solve(FULL, totals), design.counts)[:, 0].numpy()
