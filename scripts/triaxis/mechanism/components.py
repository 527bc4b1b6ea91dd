"""Queries and keys as complex components, on tensors: a rotary pair is one complex number, an unrotated dimension a
real one.

A logit is then w(d, q, k) = Re sum_m q_m conj(k_m) exp(1j t_m d), with the attention scaling in q, RoPE's amplitude in
both, and t_m = 0 where nothing turns. docs/method/mechanism.md, "Setting". `complex_form` is the same in numpy.
"""

import torch

from triaxis.attention.rope import Rotary, along
from triaxis.mechanism.complex_form import component_frequency

Tensor = torch.Tensor


def to_components(vectors: Tensor, rotary: Rotary, scale: float = 1.0) -> Tensor:
    """Vectors (..., head_dim) before rotation, float64 -> (..., pairs + unrotated) complex128, times `scale` and RoPE's
    amplitude."""
    pairs, still = len(rotary.frequency), len(rotary.unrotated)
    components = vectors.new_empty((*vectors.shape[:-1], pairs + still, 2), dtype=torch.float64)
    for part, dims in enumerate((rotary.real, rotary.imaginary)):
        torch.mul(vectors[..., along(dims)], scale * rotary.amplitude, out=components[..., :pairs, part])
    torch.mul(vectors[..., along(rotary.unrotated)], scale, out=components[..., pairs:, 0])
    components[..., pairs:, 1] = 0
    return torch.view_as_complex(components)


def turns_at(rotary: Rotary, distances: Tensor) -> Tensor:
    """exp(1j t_m d), (distances, pairs + unrotated) complex128: exactly 1 where nothing turns."""
    angle = torch.outer(distances.double(), torch.as_tensor(component_frequency(rotary), device=distances.device))
    return torch.polar(torch.ones_like(angle), angle)


def sizes(values: Tensor) -> Tensor:
    """Absolute values of complex ones; by squares, which takes a third of the time of torch's own."""
    squares = torch.view_as_real(values).square()
    return (squares[..., 0] + squares[..., 1]).sqrt_()


def by_key_head(queries: Tensor, key_heads: int) -> Tensor:
    """(heads, ...) of queries -> (key heads, heads of each, ...)."""
    return queries.unflatten(0, (key_heads, -1))
