"""The three-axis fit W_ij ~ a_{i-j} + b_i + c_j of a logit matrix, from its sums over each axis.

Least squares needs only the normal equations: N beta = t, where N counts the cells that two levels share and t
holds the sums of W over each level. N depends on the length alone, so it is factored once and serves every head,
sequence and model. Han & Ji 2025, section 3; docs/method/fit.md.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Array = NDArray[np.float64]

AXES = ("distance", "query", "key")
FULL = "+".join(AXES)
COMBINATIONS = (FULL, "distance+key", "query+key", *AXES)
PRIME = 2**31 - 1


@dataclass(frozen=True)
class Half:
    """A pseudo-random half of the cells: (i, j) with (a i + b j + c mod PRIME)^2 mod PRIME odd.

    Integers only, so that SQL and numpy agree on every cell; squared, so that no axis sees a pattern.
    """

    a: int
    b: int
    c: int

    def contains(self, query: NDArray[np.integer], key: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each cell (query, key) is in the half; the arguments broadcast."""
        mixed = (query.astype(np.int64) * self.a + key.astype(np.int64) * self.b + self.c) % PRIME
        return mixed * mixed % PRIME % 2 == 1


def draw_half(length: int, seed: int) -> Half:
    """The first half drawn from `seed` that determines every component of the fit, up to the null space.

    Attempt n = 0, 1, ... draws a, b, c in turn, uniform over 1 to PRIME - 1, with numpy's default generator (PCG64)
    seeded with [seed, n].

    A level that the half never shows could not be predicted for the other half. Only the levels near the three
    corners of the triangle, which have few cells, can fail; they are tried first. Raises ValueError if length < 2.
    """
    if length < 2:
        raise ValueError(f"a half needs at least 2 positions, not {length}")
    small = min(length, 32)
    for attempt in range(100_000):
        a, b, c = (int(x) for x in np.random.default_rng([seed, attempt]).integers(1, PRIME, 3))
        half = Half(a, b, c)
        start = np.tril(half.contains(*np.ogrid[:small, :small]))
        end = np.tril(half.contains(*np.ogrid[length - small : length, length - small : length]))
        if start.any(1).all() and end.any(0).all() and _determines_all(half_mask(length, half)):
            return half
    raise ValueError(f"no half of the cells of length {length} determines every component")


def half_mask(length: int, half: Half) -> NDArray[np.bool_]:
    """(length, length): the causal cells that are in the half."""
    return np.tril(half.contains(*np.ogrid[:length, :length]))


def _determines_all(mask: NDArray[np.bool_]) -> bool:
    """Whether these cells determine every component, up to the null space, so that they predict every other cell.

    Every level must have a cell. In a short sequence that is not enough, as the cells may fall apart into groups
    that share no level; of 100 seeds of each length from 18 to 64, none did.
    """
    if not _levels(mask).all():
        return False
    rank = parameters(FULL, len(mask))
    return len(mask) > 64 or int(np.linalg.matrix_rank(Design(mask).normal, hermitian=True)) == rank


def _by_distance(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Causal mask[query, key] -> the same cells as [distance, key]."""
    length = len(mask)
    query = np.arange(length)[:, None] + np.arange(length)[None]
    inside = query < length
    return mask[np.where(inside, query, 0), np.arange(length)[None]] & inside


def _levels(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(3, length): the number of cells of each distance, query and key."""
    return np.stack([_by_distance(mask).sum(1), mask.sum(1), mask.sum(0)])


class Design:
    """The design of the fit for one set of causal cells: mask (length, length).

    counts: (3, length) cells of each level, in the order of AXES.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask
        self.length = len(mask)
        self.counts = _levels(mask)
        self.cells = int(mask.sum())
        self._factors: dict[str, tuple[Array, bool]] = {}

    @cached_property
    def normal(self) -> Array:
        """(3 length, 3 length): N[u, v] = cells that level u and level v share."""
        by_key = _by_distance(self.mask)
        query, key = np.nonzero(self.mask)
        by_query = np.zeros_like(self.mask)
        by_query[query - key, query] = True
        blocks = [
            [np.diag(self.counts[0]), by_query, by_key],
            [by_query.T, np.diag(self.counts[1]), self.mask],
            [by_key.T, self.mask.T, np.diag(self.counts[2])],
        ]
        return np.block(blocks).astype(np.float64)

    def levels(self, axes: str) -> NDArray[np.bool_]:
        """(3 length,): which unknowns the combination `axes` uses."""
        return np.repeat([axis in axes.split("+") for axis in AXES], self.length)

    def solve(self, axes: str, totals: Array) -> Array:
        """Least-squares coefficients (n, 3, length), 0 for the axes not used; totals: (n, 3, length) sums of W.

        Where the solution is not unique, it is the one orthogonal to the null space.
        """
        used = self.levels(axes)
        if axes not in self._factors:
            null = null_space(axes, self.length)
            # Adding the null space's projector makes N definite and leaves the solutions orthogonal to it alone.
            lifted = self.normal[np.ix_(used, used)] + self.length * null.T @ null
            self._factors[axes] = cho_factor(lifted, lower=True, overwrite_a=True, check_finite=False)
        coefficients = np.zeros((len(totals), 3 * self.length))
        right = totals.reshape(len(totals), -1)[:, used]
        coefficients[:, used] = cho_solve(self._factors[axes], right.T, check_finite=False).T
        return coefficients.reshape(totals.shape)


def designs(length: int, half_seed: int) -> tuple[Design, Design]:
    """The designs of all causal cells and of the half of them that the held-out fit sees."""
    whole = np.tril(np.ones((length, length), dtype=bool))
    return Design(whole), Design(half_mask(length, draw_half(length, half_seed)))


def null_space(axes: str, length: int) -> Array:
    """(dimension, unknowns): an orthonormal basis of the changes of the coefficients that change no fit.

    Two constants and one linear trend for all three axes (age-period-cohort), one constant for two axes.
    """
    used = axes.split("+")
    one, ramp = np.ones(length), np.arange(length, dtype=np.float64)
    if len(used) == 1:
        return np.zeros((0, length))
    if len(used) == 2:
        basis = np.concatenate([one, -one])[None]
    else:
        basis = np.stack(
            [
                np.concatenate([one, -one, 0 * one]),
                np.concatenate([one, 0 * one, -one]),
                np.concatenate([ramp, -ramp, ramp]),
            ]
        )
    return np.linalg.qr(basis.T)[0].T


def parameters(axes: str, length: int) -> int:
    """The number of free parameters: 3 length - 3 for all three axes, 2 length - 1 for two, length for one."""
    return len(axes.split("+")) * length - len(null_space(axes, length))


@dataclass(frozen=True)
class Sums:
    """Sums over the cells of n logit matrices. totals: (n, 3, length) of W over each level; squares: (n,) of W^2."""

    totals: Array
    squares: Array

    @property
    def total(self) -> Array:
        """(n,): the sum of W over all cells, each of which has exactly one query."""
        return self.totals[:, 1].sum(-1)

    def __sub__(self, part: "Sums") -> "Sums":
        return Sums(self.totals - part.totals, self.squares - part.squares)


@dataclass(frozen=True)
class Fit:
    """A least-squares fit of n logit matrices; arrays (n,), coefficients (n, 3, length) without a gauge."""

    coefficients: Array
    r: Array
    r2: Array
    adjusted_r2: Array
    heldout_r: Array
    null_r: float
    cells: int
    parameters: int


def fit_axes(sums: Sums, half_sums: Sums, whole: Design, half: Design, axes: str) -> Fit:
    """Least squares of W_ij ~ the sum of the components named in `axes`, from the sums of W over each axis.

    r: Pearson correlation of W with its fit. adjusted_r2: 1 - (1 - r2)(n - 1)/(n - p). heldout_r: correlation on
    the other half of the cells of the fit to `half`. null_r: sqrt((p - 1)/(n - 1)), the r of iid noise. All are
    NaN for a constant matrix. Raises ValueError if the sums and the designs differ in length. Han & Ji 2025,
    section 3; Theil 1961 for the adjustment.
    """
    if sums.totals.shape[1:] != (3, whole.length) or half.length != whole.length:
        raise ValueError(f"sums of shape {sums.totals.shape} for a design of length {whole.length}")
    cells, free = whole.cells, parameters(axes, whole.length)
    coefficients = whole.solve(axes, sums.totals)
    explained = (coefficients * sums.totals).sum((1, 2)) - sums.total**2 / cells
    spread = _spread(sums.squares, sums.total, cells)
    r2 = np.divide(explained, spread, out=np.full_like(spread, np.nan), where=spread > 0)
    r2 = np.clip(r2, 0.0, 1.0)
    return Fit(
        coefficients,
        np.sqrt(r2),
        r2,
        1 - (1 - r2) * (cells - 1) / (cells - free),
        _correlate(half.solve(axes, half_sums.totals), sums - half_sums, whole, half),
        float(np.sqrt((free - 1) / (cells - 1))),
        cells,
        free,
    )


def _spread(squares: Array, total: Array, cells: int) -> Array:
    """(n,): the sum of squares about the mean, 0 if below rounding: there is no variance to explain."""
    spread = squares - total**2 / cells
    return np.where(spread > 1e-12 * squares, spread, 0.0)


def _correlate(coefficients: Array, rest: Sums, whole: Design, half: Design) -> Array:
    """(n,): correlation of W with the fit `coefficients` (n, 3, length) over the cells of `whole` not in `half`."""
    cells = whole.cells - half.cells
    beta = coefficients.reshape(len(coefficients), -1)
    fitted = (coefficients * (whole.counts - half.counts)).sum((1, 2))
    fitted_squares = np.einsum("nu,nu->n", beta @ (whole.normal - half.normal), beta)
    # Each cell's fit is a sum over three axes, so the products over axes add up to sum W f.
    covariance = (coefficients * rest.totals).sum((1, 2)) - rest.total * fitted / cells
    variances = _spread(rest.squares, rest.total, cells) * _spread(fitted_squares, fitted, cells)
    return np.divide(covariance, np.sqrt(variances), out=np.full_like(variances, np.nan), where=variances > 0)


def fix_gauge(coefficients: Array, counts: NDArray[np.int64]) -> Array:
    """The same fits (n, 3, length) in the stated gauge; counts: (3, length) cells of each level.

    The query and key components have count-weighted mean 0 and the key component has no count-weighted linear
    trend; the distance component holds the rest, the overall mean included. docs/method/fit.md,
    "Identifiability".
    """
    distance, query, key = (coefficients[:, axis].copy() for axis in range(3))
    positions = np.arange(coefficients.shape[-1], dtype=np.float64)
    weight = counts[2] / counts[2].sum()
    centred = positions - weight @ positions
    slope = (key @ (weight * centred)) / (weight @ centred**2)
    # slope * j = slope * i - slope * (i - j): a trend of the keys is one of the queries and distances.
    key -= slope[:, None] * positions
    query += slope[:, None] * positions
    distance -= slope[:, None] * positions
    for component, axis in ((query, 1), (key, 2)):
        mean = component @ (counts[axis] / counts[axis].sum())
        component -= mean[:, None]
        distance += mean[:, None]
    return np.stack([distance, query, key], axis=1)
