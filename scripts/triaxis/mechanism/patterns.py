"""The pattern in queries and keys, frequency pair by frequency pair.

Norm per frequency pair: Barbero et al. 2024 (arXiv 2410.06205). What each pair gives to f, g and the interaction is
`additivity.contributions_of`. docs/method/mechanism.md, "patterns/".
"""

from dataclasses import dataclass

import torch

from triaxis.mechanism.components import by_key_head, sizes

Tensor = torch.Tensor


@dataclass(frozen=True)
class Shape:
    """The shape of the n vectors of each head in each pair, (heads, pairs).

    norm: mean |v_m|. constancy: |mean v_m|^2 / mean |v_m|^2, the share of the energy that the mean holds; NaN where all
    are 0. concentration: mean resultant length of the phases, 1 if all are equal, near 0 if uniform (Mardia & Jupp
    2000).
    """

    norm: Tensor
    constancy: Tensor
    concentration: Tensor


def shapes_of(values: Tensor, size: Tensor) -> list[Shape]:
    """With the first of the n vectors of each head, and without it; values: (heads, n, pairs) complex, of absolute
    values `size`."""
    phases = values * torch.where(size > 0, 1 / size, 0)
    return [_shape_of(*(part[:, first:] for part in (values, size, phases))) for first in (0, 1)]


def _shape_of(values: Tensor, size: Tensor, phases: Tensor) -> Shape:
    energy = size.square().mean(1)
    constancy = torch.where(energy > 0, sizes(values.mean(1)).square() / energy, torch.nan)
    return Shape(size.mean(1), constancy, sizes(phases.mean(1)))


def norm_share(queries: Shape, keys: Shape) -> Tensor:
    """(heads, pairs): each pair's share of sum_m mean |q_m| mean |k_m|; NaN where that is 0."""
    norm = (by_key_head(queries.norm, len(keys.norm)) * keys.norm[:, None]).flatten(0, 1)
    total = norm.sum(-1, keepdim=True)
    return torch.where(total > 0, norm / total, torch.nan)
