"""Additivity: how nearly a logit w(d, q, k) is a function f(q, d) of position plus one g(q, k) of meaning, exactly.

With kbar_m the mean key, c_m the mean of e_m(d) = exp(1j t_m d) over the distances, and components as in `components`,

    f(q, d)    = Re sum_m q_m conj(kbar_m) e_m(d)                         up to a constant
    g(q, k)    = Re sum_m q_m c_m conj(k_m - kbar_m)                      up to a constant
    w - f - g  = Re sum_m q_m conj(k_m - kbar_m) (e_m(d) - c_m)           the interaction
    |w - f - g| <= sum_m |q_m| |k_m - kbar_m| |e_m(d) - c_m|              the bound

Over all keys and all distances the three are uncorrelated. The variance of each is a quadratic form in q, made of the
second moments of keys and turns (`moments`), and the mean of the bound is a sum of products: time and memory are linear
in the numbers of queries, keys and distances. Han & Ji 2025, section 4; docs/method/mechanism.md, "The variance of f, g
and the interaction".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from triaxis.mechanism.components import by_key_head, sizes
from triaxis.mechanism.moments import Moments, contributions, moments, moments_of, variances

Tensor = torch.Tensor

# Of |q|^2 mean |k|^2: what is less is rounding, and has no share in anything.
ROUNDING = 1e-24


@dataclass(frozen=True)
class Varying:
    """Components that vary, keys or turns: their mean (..., components), the moments of what is left without it, and
    the mean absolute value (..., components) of what is left."""

    mean: Tensor
    spread: Moments
    size: Tensor


def varying(values: Tensor) -> Varying:
    """values: (..., n, components), of which n vary."""
    mean = values.mean(-2)
    left = values - mean[..., None, :]
    return Varying(mean, moments(left), sizes(left).mean(-2))


@dataclass(frozen=True)
class Grid:
    """All keys of some key heads at all distances, as a query sees them.

    f, g, interaction: (key heads, 2 components, 2 components), the quadratic forms of the three variances. reach: (key
    heads, components), mean |k_m - kbar_m| times mean |e_m - c_m|. energy: (key heads,), mean |k|^2.
    """

    f: Tensor
    g: Tensor
    interaction: Tensor
    reach: Tensor
    energy: Tensor


def grid_of(key: Tensor, turns: Varying) -> Grid:
    """key: (key heads, keys, components); turns: of (distances, components)."""
    keys = varying(key)
    spread = keys.spread.conj()
    return Grid(
        (moments_of(keys.mean).conj() * turns.spread).form(),
        (moments_of(turns.mean) * spread).form(),
        (spread * turns.spread).form(),
        keys.size * turns.size,
        torch.view_as_real(key).square().sum((1, 2, 3)) / key.shape[1],
    )


@dataclass(frozen=True)
class Additivity:
    """How additive the logits of each query are, over all keys and all distances; tensors (heads, queries).

    f_variance, g_variance, interaction_variance: of f over distances, of g over keys, of w - f - g over both, in
    squared logits. bound_mean: the mean of the bound, in logits. r_additive: correlation of w with f + g, the best sum
    of the kind. key_independence, distance_independence: of what distance does, and of what the key does, the share
    that does not depend on the other. The three are NaN where there is nothing to share."""

    f_variance: Tensor
    g_variance: Tensor
    interaction_variance: Tensor
    bound_mean: Tensor
    r_additive: Tensor
    key_independence: Tensor
    distance_independence: Tensor


def additivity_of(query: Tensor, size: Tensor, grid: Grid) -> Additivity:
    """The additivity of queries (heads, queries, components), scaled, of absolute values `size`; each key head serves
    as many heads in turn."""
    grouped = by_key_head(query, len(grid.energy)).flatten(1, 2)
    f, g, interaction = (
        variances(grouped, form).clamp_(min=0).reshape(query.shape[:2]) for form in (grid.f, grid.g, grid.interaction)
    )
    floor = ROUNDING * (by_key_head(size.square().sum(-1), len(grid.energy)) * grid.energy[:, None, None]).flatten(0, 1)

    def share(part: Tensor) -> Tensor:
        """`part` of itself and the interaction."""
        whole = part + interaction
        return torch.where(whole > floor, part / whole, torch.nan)

    bound = (by_key_head(size, len(grid.energy)) @ grid.reach[:, None, :, None]).reshape(query.shape[:2])
    return Additivity(f, g, interaction, bound, share(f + g).sqrt(), share(f), share(g))


def contributions_of(query: Tensor, grid: Grid) -> dict[str, Tensor]:
    """What each component gives to the variances of f, g and interaction, averaged over queries: (heads, components).

    query: (heads, queries, components), scaled.
    """
    grouped = by_key_head(query, len(grid.energy))
    forms = {"f": grid.f, "g": grid.g, "interaction": grid.interaction}
    return {name: contributions(grouped, form[:, None]).flatten(0, 1) for name, form in forms.items()}


def scramble(key: Tensor, pairs: int, seed: Sequence[int]) -> Tensor:
    """One head's keys (keys, components) with the phase of each pair of each key drawn anew, uniformly: a null.

    Norms stay as they are, pair by pair. So do the components from `pairs` on, which do not turn and have no phase.
    """
    phases = torch.from_numpy(2 * np.pi * np.random.default_rng(seed).random((len(key), pairs)))
    turn = torch.polar(torch.ones_like(phases), phases).to(key.device)
    return torch.cat([key[:, :pairs] * turn, key[:, pairs:]], dim=1)
