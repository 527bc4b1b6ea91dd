"""The one displacement model: disjoint swaps of words, or tokens, that every perturbation shares.

Of the n units of a sequence that may move, pairs at most `window` apart are drawn once from a seed, so that all but
perhaps one unit has a partner; a fraction p swaps the first p of the pairs, in one seeded order. A larger p therefore
swaps what a smaller one does, and more. docs/method/tolerance.md, "One displacement".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from triaxis.base.errors import UserError
from triaxis.tolerance.schema import DISPLACEMENTS

# The unit of a token that does not move.
STAYS = -1


@dataclass(frozen=True)
class Displacement:
    """What became of the tokens of one sequence.

    order: (length,) the token that now stands at each position. moved_fraction: of the units that may move, those that
    did.
    seed: what the swaps were drawn with.
    """

    order: NDArray[np.int64]
    moved_fraction: float
    seed: tuple[int, ...]

    @property
    def new_position(self) -> NDArray[np.int64]:
        """(length,) where each token went: the inverse of `order`."""
        return np.argsort(self.order)

    @property
    def shift(self) -> NDArray[np.int64]:
        """(length,) by how many positions each token moved, forward positive; they add up to 0."""
        return self.new_position - np.arange(len(self.order))

    @property
    def mean_shift(self) -> float:
        """Mean |shift| over all tokens, in tokens."""
        return float(np.abs(self.shift).mean())

    def offsets(self) -> NDArray[np.int64]:
        """(length, length): by how much the distance of query and key is off if each cell draws it for itself.

        The difference of the shifts of two random tokens, drawn again for each cell, but for the diagonal: no
        displacement parts a token from itself. The same tokens are drawn for every fraction.
        """
        length = len(self.order)
        one, other = np.random.default_rng([*self.seed, 1]).integers(length, size=(2, length, length))
        offsets = self.shift[one] - self.shift[other]
        np.fill_diagonal(offsets, 0)
        return offsets


def pair_units(count: int, window: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """(pairs, 2): disjoint pairs of 0..count-1, at most `window` apart, in random order; at most one has no partner.

    From left to right, each unit without a partner takes a random one of those to its right. The one at its window's
    end is always free, so only the last can go without.
    """
    free, pairs = np.ones(count, dtype=bool), []
    for unit in range(count):
        if not free[unit]:
            continue
        partners = unit + 1 + np.flatnonzero(free[unit + 1 : unit + 1 + window])
        if len(partners):
            partner = int(generator.choice(partners))
            free[partner] = False
            pairs.append((unit, partner))
    return generator.permutation(np.array(pairs, dtype=np.int64).reshape(-1, 2))


def displace(units: NDArray[np.integer], fraction: float, window: int, seed: Sequence[int]) -> Displacement:
    """Swap a fraction of the units of one sequence with others at most `window` units away, whole.

    units: (length,) the unit of each token, or STAYS; the tokens of a unit are neighbours. Tokens that stay keep their
    place among the units, which a swap of units of unequal length moves along. fraction: of the units, how many move;
    what is no whole number of pairs is rounded up or down at random, so that the mean over seeds is exact. seed: any
    integers. Raises UserError if `fraction` is not in [0, 1], `window` is not positive, or there is nothing to swap.
    """
    if not 0 <= fraction <= 1:
        raise UserError(f"the fraction {fraction} of units to swap is not between 0 and 1; give one that is")
    if window < 1:
        raise UserError(f"the window {window} of a swap is less than 1, which is a unit's neighbour")
    starts = np.flatnonzero((np.diff(units, prepend=STAYS - 1) != 0) | (units == STAYS))
    groups = np.split(np.arange(len(units)), starts[1:])
    movable = [n for n, start in enumerate(starts) if units[start] != STAYS]
    if fraction and len(movable) < 2:
        raise UserError(
            "the text has no two whole words, set apart by spaces, that could be swapped; set tolerance.unit to token"
        )
    generator = np.random.default_rng(seed)
    pairs = pair_units(len(movable), window, generator)
    swapped = int(fraction * len(movable) / 2 + generator.random()) if fraction < 1 else len(pairs)
    pairs = pairs[:swapped]
    for one, other in pairs:
        here, there = movable[one], movable[other]
        groups[here], groups[there] = groups[there], groups[here]
    return Displacement(np.concatenate(groups), 2 * len(pairs) / max(len(movable), 1), tuple(seed))


def token_units(length: int, prefix: int) -> NDArray[np.int64]:
    """Each token is a unit, but for the `prefix` special tokens before the text and the first of the text."""
    units = np.arange(length) - prefix
    return np.where(units > 0, units, STAYS)


def word_units(text: str, offsets: NDArray[np.integer]) -> NDArray[np.int64]:
    """The word of each token, or STAYS; offsets: (tokens, 2), each token's first character in `text` and its end.

    A word is a maximal run of characters that are not space, and goes with the space before it: a token is of the
    word in which it starts, or of the next one if it starts with space. The first word stays, for it may be the rest
    of one, and has no space of its own before it; so do a word at the end that the tokens leave unfinished, and space
    with no word after it.
    """
    space = np.array([*map(str.isspace, text), True])
    starts = ~space & np.concatenate([[True], space[:-1]])
    word = np.cumsum(starts) + space  # of a character, from 1
    units = word[offsets[:, 0]]
    end = offsets[:, 1].max()
    return np.where((units == units[0]) | (units == word[end]) | (units > starts.sum()), STAYS, units)


def to_table(displacements: Mapping[tuple[int, float], Displacement]) -> pa.Table:
    """The rows of displacements/ from (sequence, fraction) -> displacement."""
    blocks = []
    for (sequence, fraction), displacement in displacements.items():
        length = len(displacement.order)
        columns = [
            *(np.full(length, value) for value in (sequence, fraction, displacement.moved_fraction)),
            np.arange(length),
            displacement.new_position,
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, DISPLACEMENTS, strict=True)]
        blocks.append(pa.Table.from_arrays(arrays, schema=DISPLACEMENTS))
    return pa.concat_tables(blocks)


def from_table(table: pa.Table, seed: int) -> dict[tuple[int, float], Displacement]:
    """(sequence, fraction) -> displacement, from the rows of displacements/, drawn with [seed, sequence]."""
    frame = {name: table[name].to_numpy() for name in table.column_names}
    starts = np.flatnonzero(frame["position"] == 0)
    displacements = {}
    for start, stop in zip(starts, [*starts[1:], len(table)], strict=True):
        sequence, fraction = int(frame["sequence"][start]), float(frame["fraction"][start])
        order = np.argsort(frame["new_position"][start:stop])
        displacements[sequence, fraction] = Displacement(order, float(frame["moved_fraction"][start]), (seed, sequence))
    return displacements
