"""Rotary position embedding in complex form.

A rotary pair of dimensions (real, imaginary) is one complex number, which position p turns by exp(1j t p), t being
the pair's frequency in radians a token. Su et al. 2021 (arXiv 2104.09864); docs/method/index.md, "Logit".
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triaxis.base.errors import UserError

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Rotary:
    """What rotation one layer applies to its heads.

    scale: the model's attention scaling. amplitude: what the model multiplies cos and sin by (YaRN, longrope).
    real, imaginary: (pairs,) the dimensions of each pair. frequency: (pairs,) radians a token.
    unrotated: the dimensions that position does not touch; all of them in a NoPE layer. Raises UserError unless each
    dimension is in one of the three, once, and each pair has a frequency.
    """

    scale: float
    amplitude: float
    real: NDArray[np.int64]
    imaginary: NDArray[np.int64]
    frequency: NDArray[np.float64]
    unrotated: NDArray[np.int64]

    def __post_init__(self) -> None:
        dimensions = np.sort(np.concatenate([self.real, self.imaginary, self.unrotated])).tolist()
        if dimensions != list(range(len(dimensions))):
            raise UserError(f"a layer's pairs and unrotated dimensions are not 0, 1, ... each once: {dimensions}")
        pairs, known = len(self.real), self.frequency[np.isfinite(self.frequency)]
        if not pairs == len(self.imaginary) == len(self.frequency) == len(known):
            raise UserError(f"the {pairs} pairs of a layer do not each have a frequency: {self.frequency.tolist()}")

    def rotate(self, vectors: Array, positions: NDArray[np.integer]) -> Array:
        """Queries or keys (..., positions, head_dim) before rotation -> after it, in float64."""
        angle = np.multiply.outer(positions.astype(np.float64), self.frequency)
        turned = self.to_complex(vectors) * (self.amplitude * np.exp(1j * angle))
        rotated = vectors.astype(np.float64)
        rotated[..., self.real] = turned.real
        rotated[..., self.imaginary] = turned.imag
        return rotated

    def to_complex(self, vectors: Array) -> NDArray[np.complex128]:
        """(..., head_dim) -> (..., pairs) complex."""
        return vectors[..., self.real].astype(np.float64) + 1j * vectors[..., self.imaginary]


def turns_over(rotary: Rotary, length: int) -> NDArray[np.float64]:
    """(pairs,): full turns between the first and the last of `length` positions."""
    return np.abs(rotary.frequency) * (length - 1) / (2 * np.pi)


def frequency_groups(rotaries: Mapping[int, Rotary]) -> list[list[int]]:
    """The layers that share their frequencies and their unrotated dimensions, in order of the first of each group."""
    groups: dict[tuple[bytes, int], list[int]] = {}
    for layer in sorted(rotaries):
        rotary = rotaries[layer]
        # Frequencies are measured from a model's own cos and sin, to single precision.
        rounded = np.round(rotary.frequency, 6).tobytes()
        groups.setdefault((rounded, len(rotary.unrotated)), []).append(layer)
    return list(groups.values())
