"""Queries and keys as complex components: a rotary pair is one complex number, an unrotated dimension a real one.

Position turns the first and leaves the second as it is. `components` is the same on tensors.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary
from triaxis.logits.features import Features

Array = NDArray[np.float64]

Complex = NDArray[np.complex128]


def as_components(vectors: NDArray[np.floating], rotary: Rotary) -> Complex:
    """Vectors (..., head_dim) before rotation -> (..., pairs + unrotated), RoPE's amplitude included."""
    return np.concatenate([rotary.amplitude * rotary.to_complex(vectors), vectors[..., rotary.unrotated]], axis=-1)


def component_frequency(rotary: Rotary) -> Array:
    """(pairs + unrotated,): radians a token, 0 for the dimensions that position does not touch."""
    return np.concatenate([rotary.frequency, np.zeros(len(rotary.unrotated))])


def turns_at(rotary: Rotary, distances: NDArray[np.integer]) -> Complex:
    """exp(1j t_m d): (distances, pairs + unrotated)."""
    return np.exp(1j * np.multiply.outer(distances, component_frequency(rotary)))


def inner(left: Complex, right: Complex) -> Array:
    """Re sum_m left_m conj(right_m), (..., components) and (n, components) -> (..., n), as one real matrix product."""
    a, b = (np.ascontiguousarray(components).view(np.float64) for components in (left, right))
    return a @ b.T


def evenly(length: int, count: int) -> NDArray[np.int64]:
    """At most `count` integers from 0 to length - 1, as evenly spaced as integers can be, both ends in; of one, the
    last."""
    count = min(count, length)
    return np.arange(count) * (length - 1) // (count - 1) if count > 1 else np.array([length - 1])


def heads_as_components(features: Features, rotary: Rotary) -> Iterator[tuple[int, Complex, Complex]]:
    """Each query head of a layer: its number, its queries (length, components), scaled, and its keys (length,
    components)."""
    group = len(features.query) // len(features.key)
    for key_head, key in enumerate(features.key):
        key_components = as_components(key, rotary)
        for head in range(key_head * group, (key_head + 1) * group):
            yield head, rotary.scale * as_components(features.query[head], rotary), key_components
