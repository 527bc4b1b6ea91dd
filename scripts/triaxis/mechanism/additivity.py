"""Additivity: how nearly a logit w(d, q, k) is a function f(q, d) of position plus one g(q, k) of meaning, and why.

Queries and keys are complex components (`complex_form`): a rotary pair is one complex number that turns, an unrotated
dimension a real one that does not (frequency t_m = 0). A logit is then

    w(d, q, k) = Re sum_m q_m conj(k_m) exp(1j t_m d)

with the attention scaling in q and RoPE's amplitude in both. With the mean key kbar_m, and c_m, the mean of
exp(1j t_m d) over the distances,

    f(q, d) = Re sum_m q_m conj(kbar_m) exp(1j t_m d)
    g(q, k) = Re sum_m q_m conj(k_m - kbar_m) c_m
    w - f - g = Re sum_m q_m conj(k_m - kbar_m) (exp(1j t_m d) - c_m)
    |w - f - g| <= sum_m |q_m| |k_m - kbar_m| |exp(1j t_m d) - c_m|

kbar is 0 in the unrotated dimensions, so that g holds all of them. Han & Ji 2025, section 4;
docs/method/mechanism.md, "The exact residual" and "The bound".
"""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary
from triaxis.base.errors import UserError
from triaxis.logits.features import Features
from triaxis.mechanism.complex_form import Complex, evenly, heads_as_components, inner, rows_of, turns_at
from triaxis.mechanism.schema import ADDITIVITY

Array = NDArray[np.float64]

# What the rounding of float64 may add to a residual, relative to |q| |k|.
ROUNDING = 1e-12

# Cells that are worked on at once, 1 MiB, in memory that is used again. A core's cache holds them, and fresh pages cost
# as much as the arithmetic.
BLOCK_CELLS = 1 << 17


@dataclass(frozen=True)
class ClosedForm:
    """One key head on a grid of distances and keys; its methods take queries (queries, components), scaled.

    key: (keys, components). mean_key: (components,), 0 where nothing turns. turn: (distances, components), exp(1j t_m
    d).
    """

    key: Complex
    mean_key: Complex
    turn: Complex

    @cached_property
    def mean_turn(self) -> Complex:
        """c_m, (components,): 1 where nothing turns."""
        return self.turn.mean(0)

    def logits(self, query: Complex, out: Array | None = None) -> Array:
        """w, (queries, distances, keys): one matrix product, of turned queries and keys."""
        return inner(query[:, None] * self.turn, self.key, out)

    def f(self, query: Complex) -> Array:
        """f, (queries, distances): what position says to an average key."""
        return inner(query * self.mean_key.conj(), self.turn.conj())

    def g(self, query: Complex) -> Array:
        """g, (queries, keys): what the key says at an average distance."""
        return inner(query * self.mean_turn, self.key - self.mean_key)

    def residual(self, query: Complex) -> Array:
        """w - f - g in closed form, (queries, distances, keys)."""
        return inner(query[:, None] * (self.turn - self.mean_turn), self.key - self.mean_key)

    def bound(self, query: Complex, out: Array | None = None) -> Array:
        """What |w - f - g| cannot exceed, (queries, distances, keys)."""
        swing = np.abs(query)[:, None] * np.abs(self.turn - self.mean_turn)
        return np.matmul(swing, np.abs(self.key - self.mean_key).T, out=out)


def closed_form(key: Complex, mean_key: Complex, pairs: int, turn: Complex) -> ClosedForm:
    """The closed form of one key head, of whose components the first `pairs` turn.

    key: (keys, components) of the grid; mean_key: (components,) of all keys that it stands for; turn: (distances,
    components).
    """
    return ClosedForm(key, np.where(np.arange(len(mean_key)) < pairs, mean_key, 0), turn)


@dataclass(frozen=True)
class Grid:
    """Which queries meet which keys at which dummy distances, as positions and distances in tokens."""

    queries: NDArray[np.int64]
    keys: NDArray[np.int64]
    distances: NDArray[np.int64]


def make_grid(length: int, queries: int, keys: int, distances: int) -> Grid:
    """The last `queries` positions, `keys` positions and `distances` distances evenly spaced over 0 to length - 1.

    Both ends are in, the first token included; a key may come after its query, since distance is a dummy. Raises
    UserError if the grid is larger than the sequence, or has no query or fewer than 2 keys or distances.
    """
    for name, size, least in (("queries", queries, 1), ("keys", keys, 2), ("distances", distances, 2)):
        if not least <= size <= length:
            raise UserError(
                f"mechanism.{name} is {size}: a grid on sequences of {length} tokens has {least} to {length}"
            )
    return Grid(np.arange(length - queries, length), evenly(length, keys), evenly(length, distances))


@dataclass(frozen=True)
class Additivity:
    """How additive the logits of a head are, query by query; arrays (queries,), NaN where undefined.

    r_additive: correlation of w over (distances, keys) with its two-way additive fit, row mean + column mean - mean.
    interaction: 1 - r_additive^2, the share of the variance that no sum of a function of d and one of k can have.
    r_closed_form: correlation of w with f + g. bound_mean: mean of the bound. residual_rms, residual_max: of
    w - f - g. logit_rms: of w. The last four are in logits.
    """

    r_additive: Array
    interaction: Array
    r_closed_form: Array
    bound_mean: Array
    residual_rms: Array
    residual_max: Array
    logit_rms: Array


def make_buffer(queries: int, distances: int, keys: int) -> Array:
    """Memory for the cells of some of the queries, twice: (2, some, distances, keys), of BLOCK_CELLS or one query's."""
    return np.empty((2, min(queries, max(1, BLOCK_CELLS // (distances * keys))), distances, keys))


def additivity_of(query: Complex, form: ClosedForm, buffer: Array | None = None) -> Additivity:
    """The additivity of one head for its queries (queries, components), scaled.

    buffer: from `make_buffer`, used again for one head after another. The residual is w - f - g, with w and f + g
    evaluated apart, so every cell tests the identity and the bound. Raises ArithmeticError if the bound is broken by
    more than rounding.
    """
    buffer = make_buffer(len(query), len(form.turn), len(form.key)) if buffer is None else buffer
    step = buffer.shape[1]
    blocks = [_additivity_of(query[start : start + step], form, buffer) for start in range(0, len(query), step)]
    return Additivity(
        *(np.concatenate([getattr(block, field.name) for block in blocks]) for field in fields(Additivity))
    )


def _additivity_of(query: Complex, form: ClosedForm, buffer: Array) -> Additivity:
    """The additivity for as many queries as `buffer` holds the cells of."""
    f, g = form.f(query), form.g(query)
    cells = form.logits(query, buffer[0, : len(query)])
    square = np.einsum("qdk,qdk->q", cells, cells) / cells[0].size
    cells -= f[:, :, None]
    cells -= g[:, None, :]
    residual_square = np.einsum("qdk,qdk->q", cells, cells) / cells[0].size
    left_d, left_k = cells.mean(2), cells.mean(1)
    residual_max = np.maximum(cells.max((1, 2)), -cells.min((1, 2)))
    bound = form.bound(query, buffer[1, : len(query)])
    slack = ROUNDING * np.linalg.norm(query, axis=-1).max() * np.linalg.norm(form.key, axis=-1).max()
    if (np.abs(cells, out=cells) > np.add(bound, slack, out=bound)).any():
        raise ArithmeticError(f"the bound on |w - f - g| is broken by {(cells - bound).max():.1e}")
    # The row and column means of w are those of f, g and what is left, up to constants.
    row, column = f + left_d, g + left_k
    additive = row.var(1) + column.var(1)
    interaction = residual_square - left_d.var(1) - left_k.var(1) - left_d.mean(1) ** 2
    spread = additive + np.maximum(interaction, 0)
    # Below rounding there is no variance to explain.
    spread = np.where(spread > 1e-24 * square, spread, np.nan)
    share = np.maximum(interaction, 0) / spread
    predicted = f.var(1) + g.var(1)
    predicted = np.where(predicted > 1e-24 * square, predicted, np.nan)
    return Additivity(
        np.sqrt(1 - share),
        share,
        (_covariance(row, f) + _covariance(column, g)) / np.sqrt(spread * predicted),
        bound.mean((1, 2)) - slack,
        np.sqrt(residual_square),
        residual_max,
        np.sqrt(square),
    )


def _covariance(left: Array, right: Array) -> Array:
    """(queries, n) and (queries, n) -> (queries,)."""
    return ((left - left.mean(1, keepdims=True)) * (right - right.mean(1, keepdims=True))).mean(1)


def null_r_additive(rotaries: dict[int, Rotary], distances: NDArray[np.integer]) -> float:
    """What r_additive would be, averaged over rotary layers, for keys without a mean and with equal norm in each pair
    (and half of it in each unrotated dimension): the root mean square of |c_m|. NaN without rotary layers.

    Then f is 0, a pair's share of the variance of g is |c_m|^2, and the pairs are independent.
    """
    values = []
    for rotary in rotaries.values():
        pairs, still = len(rotary.frequency), len(rotary.unrotated)
        if pairs:
            square = np.abs(turns_at(rotary, distances).mean(0)[:pairs]) ** 2
            values.append(np.sqrt((square.sum() + still / 2) / (pairs + still / 2)))
    return float(np.mean(values)) if values else float("nan")


def measure_additivity(features: Features, rotary: Rotary, grid: Grid) -> pa.Table:
    """The rows of additivity/ for one (sequence, layer).

    kbar is the mean over all keys of the sequence, the first included; c the mean over the grid's distances. A layer
    without rotary dimensions (NoPE) does not see distance: its rows have only logit_rms.
    """
    parts = []
    turn, buffer = turns_at(rotary, grid.distances), make_buffer(len(grid.queries), len(grid.distances), len(grid.keys))
    for head, query, key in heads_as_components(features, rotary):
        form = closed_form(key[grid.keys], key.mean(0), len(rotary.frequency), turn)
        values = additivity_of(query[grid.queries], form, buffer)
        columns = {field.name: getattr(values, field.name) for field in fields(Additivity)}
        if not len(rotary.frequency):
            columns |= {name: np.full(len(grid.queries), np.nan) for name in columns if name != "logit_rms"}
        parts.append({"head": np.full(len(grid.queries), head), "query": grid.queries, **columns})
    return rows_of(features, parts, ADDITIVITY)
