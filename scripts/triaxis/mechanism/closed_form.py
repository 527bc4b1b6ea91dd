"""The closed form of one head, cell by cell: f, g, what is left, and its bound, on any keys and distances.

With the mean key kbar_m, and c_m, the mean of exp(1j t_m d) over the distances,

    f(q, d) = Re sum_m q_m conj(kbar_m) exp(1j t_m d)
    g(q, k) = Re sum_m q_m conj(k_m - kbar_m) c_m
    w - f - g = Re sum_m q_m conj(k_m - kbar_m) (exp(1j t_m d) - c_m)
    |w - f - g| <= sum_m |q_m| |k_m - kbar_m| |exp(1j t_m d) - c_m|

kbar is 0 in the unrotated dimensions, so that g holds all of them. Figures show these cells, and tests hold
`additivity` to them. Han & Ji 2025, section 4; docs/method/mechanism.md, "The exact residual" and "The bound"."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary
from triaxis.mechanism.complex_form import Complex, inner, turns_at

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ClosedForm:
    """One key head on a grid of distances and keys; its methods take queries (queries, components), scaled.

    key: (keys, components). mean_key: (components,), 0 where nothing turns. turn: (distances, components), exp(1j t_m
    d). mean_turn: c_m, (components,), 1 where nothing turns.
    """

    key: Complex
    mean_key: Complex
    turn: Complex
    mean_turn: Complex

    def logits(self, query: Complex) -> Array:
        """w, (queries, distances, keys): one matrix product, of turned queries and keys."""
        return inner(query[:, None] * self.turn, self.key)

    def f(self, query: Complex) -> Array:
        """f, (queries, distances): what position says to an average key."""
        return inner(query * self.mean_key.conj(), self.turn.conj())

    def g(self, query: Complex) -> Array:
        """g, (queries, keys): what the key says at an average distance."""
        return inner(query * self.mean_turn, self.key - self.mean_key)

    def residual(self, query: Complex) -> Array:
        """w - f - g in closed form, (queries, distances, keys)."""
        return inner(query[:, None] * (self.turn - self.mean_turn), self.key - self.mean_key)

    def bound(self, query: Complex) -> Array:
        """What |w - f - g| cannot exceed, (queries, distances, keys)."""
        swing = np.abs(query)[:, None] * np.abs(self.turn - self.mean_turn)
        return swing @ np.abs(self.key - self.mean_key).T


def closed_form(key: Complex, turn: Complex, pairs: int, mean_key: Complex, mean_turn: Complex) -> ClosedForm:
    """The closed form of one key head, of whose components the first `pairs` turn.

    key: (keys, components), turn: (distances, components), of the grid; mean_key, mean_turn: (components,), of all keys
    and distances that it stands for.
    """
    return ClosedForm(key, np.where(np.arange(len(mean_key)) < pairs, mean_key, 0), turn, mean_turn)


def null_r_additive(rotaries: Mapping[int, Rotary], length: int) -> float:
    """What r_additive would be, averaged over rotary layers, for keys without a mean and with equal norm in each pair
    (and half of it in each unrotated dimension), over the distances 0 to length - 1: the root mean square of |c_m|. NaN
    without rotary layers.

    Then f is 0, a pair's share of the variance of g is |c_m|^2, and the pairs are independent.
    """
    values = []
    for rotary in rotaries.values():
        pairs, still = len(rotary.frequency), len(rotary.unrotated)
        if pairs:
            square = np.abs(turns_at(rotary, np.arange(length)).mean(0)[:pairs]) ** 2
            values.append(np.sqrt((square.sum() + still / 2) / (pairs + still / 2)))
    return float(np.mean(values)) if values else float("nan")
