"""Which cells the held-out fit does not see: a third of them, by groups of queries and of keys.

The rule is a product of a query's part and a key's, so that sums over the held-out cells cost no more than linear time
too (linear.py); SQL computes it from the same groups (sums.py). docs/method/fit.md, "Held-out cells".
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Up to this length, the rank of the fitted cells' design is computed.
SHORT = 64
ATTEMPTS = 100_000


@dataclass(frozen=True, eq=False)
class Groups:
    """A group, 0, 1 or 2, of each query and of each key (length,): a cell is held out if (query - key) mod 3 = 1."""

    query: NDArray[np.int64]
    key: NDArray[np.int64]

    def hold_out(self, query: NDArray[np.integer], key: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each cell (query, key) is held out; the arguments are positions, and broadcast."""
        return (self.query[query] - self.key[key]) % 3 == 1

    def factors(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """u and v (3, length), zeros and ones: u[:, i] . v[:, j] is 1 for a held-out cell (i, j), and 0 for others."""
        group = np.arange(3)[:, None]
        return (self.query == group).astype(np.float64), ((self.key + 1) % 3 == group).astype(np.float64)

    def roots(self) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """u and v (length,), cube roots of unity: (1 + 2 Re u_i conj(v_j)) / 3 is 1 for a held-out cell (i, j), and 0
        for others."""
        third = 2j * np.pi / 3
        return np.exp(third * (self.query - 1)), np.exp(third * self.key)

    def counts(self) -> NDArray[np.int64]:
        """(3, length): the held-out cells of each distance, query and key, in the order of AXES."""
        u, v = self.factors()
        size = 2 * u.shape[1]
        spectrum = (np.fft.rfft(u, size) * np.fft.rfft(v, size).conj()).sum(0)
        by_distance = np.fft.irfft(spectrum, size)[: u.shape[1]]
        by_query = (u * v.cumsum(1)).sum(0)
        by_key = (v * u[:, ::-1].cumsum(1)[:, ::-1]).sum(0)
        return np.rint(np.stack([by_distance, by_query, by_key])).astype(np.int64)


def all_counts(length: int) -> NDArray[np.int64]:
    """(3, length): the causal cells of each distance, query and key, in the order of AXES."""
    up = np.arange(1, length + 1)
    return np.stack([up[::-1], up, up[::-1]])


def draw_groups(length: int, seed: int) -> Groups:
    """The first groups drawn from `seed` whose fitted cells determine every component, up to the null space.

    Attempt n = 0, 1, ... draws the groups of the queries and then those of the keys, uniform over 0, 1 and 2, with
    numpy's default generator (PCG64) seeded with [seed, n]. A level without a fitted cell could not be predicted; the
    first query, the last key and the last distance have one cell each, so that about one draw in five has every level.
    In a short sequence the cells may also fall apart into parts that share no level: there the rank is computed.
    Raises ValueError if length < 2, where no fit is left to test.
    """
    if length < 2:
        raise ValueError(f"held-out cells need at least 2 positions, not {length}")
    for attempt in range(ATTEMPTS):
        groups = Groups(*np.random.default_rng([seed, attempt]).integers(0, 3, (2, length)))
        if (groups.counts() < all_counts(length)).all() and (length > SHORT or _determines_all(groups)):
            return groups
    raise ValueError(f"no groups of length {length} leave cells that determine every component")


def _determines_all(groups: Groups) -> bool:
    """Whether the design of the fitted cells has the rank of all cells' design, 3 length - 3."""
    length = len(groups.query)
    query, key = np.tril_indices(length)
    fitted = ~groups.hold_out(query, key)
    levels = np.stack([query - key, length + query, 2 * length + key])[:, fitted]
    design = np.zeros((levels.shape[1], 3 * length))
    design[np.arange(len(design)), levels] = 1
    return bool(np.linalg.matrix_rank(design.T @ design, hermitian=True) == 3 * length - 3)
