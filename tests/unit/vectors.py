"""Random rotations and features that the mechanism's tests share."""

from dataclasses import replace

import numpy as np

from triaxis.attention.rope import Rotary
from triaxis.logits.features import Features

LENGTH = 24


def make_rotary(
    pairs: int = 4, unrotated: int = 0, scale: float = 0.3, amplitude: float = 1.0, seed: int = 0
) -> Rotary:
    """A rotation with random frequencies and the dimensions in random order."""
    generator = np.random.default_rng(seed)
    dims = generator.permutation(2 * pairs + unrotated)
    frequency = 10.0 ** generator.uniform(-4, 0.5, pairs)
    return Rotary(scale, amplitude, dims[:pairs], dims[pairs : 2 * pairs], frequency, np.sort(dims[2 * pairs :]))


def make_features(rotary: Rotary, heads: int = 4, key_heads: int = 2, length: int = LENGTH, seed: int = 0) -> Features:
    """Queries and keys with a mean of their own, so that f, g and the residual are all there."""
    generator = np.random.default_rng(seed)
    dim = 2 * len(rotary.frequency) + len(rotary.unrotated)
    shift = generator.standard_normal(dim)
    query, key = (
        (generator.standard_normal((count, length, dim)) + shift).astype(np.float32) for count in (heads, key_heads)
    )
    return Features(3, 1, query, key)


def dense_logits(query, key, rotary: Rotary, distances) -> np.ndarray:
    """w by rotating the query to each distance: (queries, distances, keys), the definition."""
    turned = np.stack([rotary.rotate(query, np.full(len(query), d)) for d in distances], axis=1)
    still = rotary.rotate(key, np.zeros(len(key), dtype=int))
    return rotary.scale * turned @ still.T


ROTARIES = {
    "full": make_rotary(),
    "partial": make_rotary(3, 5),
    "amplitude": make_rotary(4, 2, amplitude=1.37),
    "one pair": make_rotary(1, 0),
    "nothing turns": make_rotary(0, 6),
    "no motion": replace(make_rotary(2, 1), frequency=np.zeros(2)),
}
