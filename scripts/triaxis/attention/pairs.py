"""Rotary pairs as complex tensors."""

import torch

from triaxis.attention.rope import Rotary, along

Tensor = torch.Tensor


def to_pairs(vectors: Tensor, rotary: Rotary) -> Tensor:
    """(..., head_dim) float32 -> (..., pairs) complex64."""
    return torch.complex(vectors[..., along(rotary.real)], vectors[..., along(rotary.imaginary)])


def phases(positions: Tensor, rotary: Rotary) -> Tensor:
    """exp(1j t p): positions (n,) -> (n, pairs) complex128."""
    angle = torch.outer(positions.double(), torch.as_tensor(rotary.frequency))
    return torch.polar(torch.ones_like(angle), angle)


def as_real(values: Tensor) -> Tensor:
    """(..., pairs) complex -> (..., 2 pairs), so that the dot product of two is Re sum_m x_m conj(y_m)."""
    return torch.view_as_real(values).flatten(-2)
