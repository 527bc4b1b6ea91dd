"""The three-axis fit W_ij ~ a_{i-j} + b_i + c_j of a logit matrix, from its sums over each axis.

Least squares needs only the normal equations N beta = t: t holds the sums of W over each level, and N beta those of the
fit that beta makes. These are a few running sums, so conjugate gradients solve the equations in time linear in the
length, and no matrix is formed but for short texts. Han & Ji 2025, section 3; docs/method/fit.md. Imports torch and
numpy alone.
"""

from dataclasses import dataclass

import torch

from triaxis.fit.combinations import AXES, FULL
from triaxis.fit.groups import Groups, all_counts, draw_groups

Tensor = torch.Tensor

# The residual at which a solution counts as found, as a share of the first one and of the sums themselves: a residual
# of rounding alone cannot shrink. With the counts as preconditioner it takes fewer than 40 steps, at every length.
TOLERANCE = 1e-12
ROUNDING = 1e-14
MOST_STEPS = 500

# Up to this length the normal equations are formed and inverted once, for all matrices; that costs its cube.
FORMED = 256


def device_with_doubles(device: torch.device) -> torch.device:
    """`device`, or the CPU where it has no float64 (MPS)."""
    return torch.device("cpu") if device.type == "mps" else device


class Design:
    """The design of the fit of matrices of one length, for all causal cells or, with `groups`, those not held out.

    counts: (3, length) cells of each level, in the order of AXES, as float64. cells: how many there are.
    """

    def __init__(self, length: int, groups: Groups | None = None, device: torch.device | str = "cpu") -> None:
        self.length = length
        counts = all_counts(length) if groups is None else all_counts(length) - groups.counts()
        self.counts = torch.from_numpy(counts.astype(float)).to(device)
        self.cells = int(counts[1].sum())
        self._heldout = None if groups is None else _HeldOut(groups, device)
        self._inverses: dict[str, Tensor] = {}

    def normal(self, coefficients: Tensor, axes: str = FULL) -> Tensor:
        """N beta: the sums over each level of a_{i-j} + b_i + c_j; (n, 3, length) -> (n, 3, length).

        axes: those whose coefficients are not 0, and whose sums are wanted; sums over the others may be left out.
        """
        a, b, c = coefficients.unbind(1)
        up_a, down_b, up_c = a.cumsum(-1), backwards(b), c.cumsum(-1)
        others = torch.stack([down_b + up_c.flip(-1), up_a + up_c, down_b + up_a.flip(-1)], dim=1)
        if self._heldout is not None:
            others = 2 / 3 * (others - self._heldout.turned(a, b, c, "distance" in axes))
        return self.counts * coefficients + others

    def solve(self, axes: str, totals: Tensor) -> Tensor:
        """Least-squares coefficients (n, 3, length), 0 for the axes not used; totals: (n, 3, length) sums of W.

        Conjugate gradients from the mean of W, with the counts as preconditioner, or N itself where matrices are short:
        a step or two then do. Where the solution is not unique, it is one of them. Raises RuntimeError if they do not
        converge.
        """
        used = torch.zeros(3, 1, dtype=torch.bool, device=totals.device)
        used[_used(axes)] = True
        first = _used(axes)[0]
        solution = torch.zeros_like(totals)
        # The mean, which every combination can fit, goes first: what is left is small where W is far from 0.
        solution[:, first] = totals[:, first].sum(-1, keepdim=True) / self.cells
        residual = self._consistent(axes, used * (totals - self.normal(solution, axes)))
        scaled = self._divided(axes, residual)
        size = _dot(residual, scaled)
        goal = torch.maximum(TOLERANCE**2 * size, ROUNDING**2 * _dot(used * totals, totals / self.counts))
        direction = scaled
        for _ in range(MOST_STEPS):
            open_ = ~(size <= goal)
            if not open_.any():
                return solution
            image = used * self.normal(direction, axes)
            step = torch.where(open_, size / _dot(direction, image), 0.0)[:, None, None]
            solution = solution + step * direction
            residual = residual - step * image
            scaled = self._divided(axes, residual)
            size, before = _dot(residual, scaled), size
            direction = scaled + torch.where(open_, size / before, 0.0)[:, None, None] * direction
        raise RuntimeError(f"the fit of {axes} to matrices of length {self.length} did not converge")

    def _divided(self, axes: str, residual: Tensor) -> Tensor:
        """The residual (n, 3, length), 0 for the axes not used, with the preconditioner taken out."""
        if self.length > FORMED or axes in AXES:
            return residual / self.counts
        if axes not in self._inverses:
            self._inverses[axes] = self._inverse(axes)
        used = _used(axes)
        divided = torch.zeros_like(residual)
        divided[:, used] = (residual[:, used].flatten(1) @ self._inverses[axes]).unflatten(1, (len(used), -1))
        return divided

    def _inverse(self, axes: str) -> Tensor:
        """The inverse of N on the axes used, its null space added, which no residual has a part in."""
        used = _used(axes)
        unit = torch.eye(3 * self.length, dtype=torch.float64, device=self.counts.device)
        unit = unit.unflatten(0, (3, -1))[used].flatten(0, 1).unflatten(1, (3, -1))
        formed = self.normal(unit, axes)[:, used].flatten(1)
        weighted = (self.counts * null_space(axes, self.length).to(unit.device))[:, used].flatten(1)
        return torch.linalg.inv(formed + weighted.T @ weighted)

    def _consistent(self, axes: str, totals: Tensor) -> Tensor:
        """Without what no coefficients can give, which is rounding: the axes' sums of one matrix agree. (n, 3, length).

        It is taken from each level in proportion to its cells.
        """
        null = null_space(axes, self.length).to(totals.device)
        if not len(null):
            return totals
        weighted = self.counts * null
        shares = torch.linalg.solve((null.flatten(1) @ weighted.flatten(1).T), null.flatten(1) @ totals.flatten(1).T)
        return totals - torch.einsum("kn,kal->nal", shares, weighted)


class _HeldOut:
    """What the held-out cells take from the normal equations: (1 + 2 Re u_i conj(v_j)) / 3 is 1 for each.

    A sum over a distance is a correlation, and one of the distance component over a query or a key another.
    """

    def __init__(self, groups: Groups, device: torch.device | str) -> None:
        u, v = (torch.from_numpy(roots).to(device) for roots in groups.roots())
        self.size = fft_size(len(u))
        self.u, self.v, self.v_conj = u, v, v.conj().resolve_conj()
        self.u_spectrum, self.v_conj_spectrum = torch.fft.fft(u, self.size), torch.fft.fft(self.v_conj, self.size)
        self.v_spectrum_conj = torch.fft.fft(v, self.size).conj().resolve_conj()

    def turned(self, a: Tensor, b: Tensor, c: Tensor, with_distance: bool) -> Tensor:
        """The real parts of the sums over each level of u_i conj(v_j) times the components of the other two axes:
        (n, length) each -> (n, 3, length). Without the distance axis, a is 0 and its sums are left out."""
        bu, cv = b * self.u, c * self.v_conj
        by_distance, by_query, by_key = torch.zeros_like(bu), cv.cumsum(-1), backwards(bu)
        if with_distance:
            a_spectrum, b_spectrum, c_spectrum = (torch.fft.fft(x, self.size) for x in (a, bu, c * self.v))
            by_distance = self._inverse(b_spectrum * self.v_spectrum_conj + self.u_spectrum * c_spectrum.conj())
            by_query = by_query + self._inverse(a_spectrum * self.v_conj_spectrum)
            by_key = by_key + self._inverse(self.u_spectrum * a_spectrum.conj())
        return torch.stack([by_distance.real, (self.u * by_query).real, (self.v_conj * by_key).real], dim=1)

    def _inverse(self, spectrum: Tensor) -> Tensor:
        return torch.fft.ifft(spectrum)[..., : len(self.u)]


def _used(axes: str) -> list[int]:
    """The places in AXES of the axes named."""
    return [AXES.index(axis) for axis in axes.split("+")]


def fft_size(length: int) -> int:
    """The power of two that holds a correlation of two sequences of `length`."""
    return 1 << (2 * length - 1).bit_length()


def backwards(values: Tensor) -> Tensor:
    """Running sums from the end: (..., length) -> (..., length)."""
    return values.flip(-1).cumsum(-1).flip(-1)


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """(n, 3, length) each -> (n,)."""
    return (left * right).sum((1, 2))


def designs(length: int, seed: int, device: torch.device | str = "cpu") -> tuple[Design, Design]:
    """The designs of all causal cells, and of those that the held-out fit sees."""
    return Design(length, device=device), Design(length, draw_groups(length, seed), device)


def null_space(axes: str, length: int) -> Tensor:
    """(dimension, 3, length): an orthonormal basis of the changes of the coefficients that change no fit.

    Two constants and one linear trend for all three axes (age-period-cohort), one constant for two axes.
    """
    used = _used(axes)
    one, zero = torch.ones(length, dtype=torch.float64), torch.zeros(length, dtype=torch.float64)
    if len(used) == 1:
        return torch.zeros(0, 3, length, dtype=torch.float64)
    if len(used) == 2:
        basis = torch.zeros(1, 3, length, dtype=torch.float64)
        basis[0, used[0]], basis[0, used[1]] = one, -one
    else:
        ramp = torch.arange(length, dtype=torch.float64)
        directions = [(one, -one, zero), (one, zero, -one), (ramp, -ramp, ramp)]
        basis = torch.stack([torch.stack(direction) for direction in directions])
    return torch.linalg.qr(basis.flatten(1).T)[0].T.unflatten(1, (3, length))


def parameters(axes: str, length: int) -> int:
    """The number of free parameters: 3 length - 3 for all three axes, 2 length - 1 for two, length for one."""
    used = len(_used(axes))
    return used * length - (0, 1, 3)[used - 1]


@dataclass(frozen=True)
class Sums:
    """Sums over the cells of n logit matrices. totals: (n, 3, length) of W over each level; squares: (n,) of W^2."""

    totals: Tensor
    squares: Tensor

    @property
    def total(self) -> Tensor:
        """(n,): the sum of W over all cells, each of which has exactly one query."""
        return self.totals[:, 1].sum(-1)

    def __sub__(self, part: "Sums") -> "Sums":
        return Sums(self.totals - part.totals, self.squares - part.squares)


@dataclass(frozen=True)
class Fit:
    """A least-squares fit of n logit matrices; tensors (n,), coefficients (n, 3, length) without a gauge."""

    coefficients: Tensor
    r: Tensor
    r2: Tensor
    adjusted_r2: Tensor
    heldout_r: Tensor
    null_r: float
    cells: int
    parameters: int


def fit_axes(sums: Sums, heldout: Sums, whole: Design, seen: Design, axes: str) -> Fit:
    """Least squares of W_ij ~ the sum of the components named in `axes`, from the sums of W over each axis.

    heldout: the sums of the cells that are in `whole` and not in `seen`. r: Pearson correlation of W with its fit.
    adjusted_r2: 1 - (1 - r2)(n - 1)/(n - p). heldout_r: correlation on the held-out cells of the fit to `seen`. null_r:
    sqrt((p - 1)/(n - 1)), the r of iid noise. All are NaN for a constant matrix. Raises ValueError if the sums and the
    designs differ in length. Han & Ji 2025, section 3; Theil 1961 for the adjustment.
    """
    if sums.totals.shape[1:] != (3, whole.length) or seen.length != whole.length:
        raise ValueError(f"sums of shape {tuple(sums.totals.shape)} for a design of length {whole.length}")
    cells, free = whole.cells, parameters(axes, whole.length)
    coefficients = whole.solve(axes, sums.totals)
    explained = _dot(coefficients, sums.totals) - sums.total**2 / cells
    spread = _spread(sums.squares, sums.total, cells)
    r2 = torch.where(spread > 0, explained / spread, torch.nan).clamp(0, 1)
    return Fit(
        coefficients,
        r2.sqrt(),
        r2,
        1 - (1 - r2) * (cells - 1) / (cells - free),
        _correlate(seen.solve(axes, (sums - heldout).totals), heldout, whole, seen),
        ((free - 1) / (cells - 1)) ** 0.5,
        cells,
        free,
    )


def _spread(squares: Tensor, total: Tensor, cells: int) -> Tensor:
    """(n,): the sum of squares about the mean, 0 if below rounding: there is no variance to explain."""
    spread = squares - total**2 / cells
    return torch.where(spread > 1e-12 * squares, spread, 0.0)


def _correlate(coefficients: Tensor, heldout: Sums, whole: Design, seen: Design) -> Tensor:
    """(n,): correlation of W with the fit `coefficients` (n, 3, length) over the cells of `whole` not in `seen`."""
    cells = whole.cells - seen.cells
    fitted = _dot(coefficients, (whole.counts - seen.counts).expand_as(coefficients))
    fitted_squares = _dot(coefficients, whole.normal(coefficients) - seen.normal(coefficients))
    # Each cell's fit is a sum over three axes, so the products over axes add up to sum W f.
    covariance = _dot(coefficients, heldout.totals) - heldout.total * fitted / cells
    variances = _spread(heldout.squares, heldout.total, cells) * _spread(fitted_squares, fitted, cells)
    return torch.where(variances > 0, covariance / variances.sqrt(), torch.nan)


def fix_gauge(coefficients: Tensor, counts: Tensor) -> Tensor:
    """The same fits (n, 3, length) in the stated gauge; counts: (3, length) cells of each level.

    The query and key components have count-weighted mean 0 and the key component has no count-weighted linear
    trend; the distance component holds the rest, the overall mean included. docs/method/fit.md,
    "Identifiability".
    """
    distance, query, key = coefficients.unbind(1)
    positions = torch.arange(coefficients.shape[-1], dtype=counts.dtype, device=counts.device)
    weights = counts / counts.sum(-1, keepdim=True)
    centred = positions - weights[2] @ positions
    slope = (key @ (weights[2] * centred)) / (weights[2] @ centred**2)
    # slope * j = slope * i - slope * (i - j): a trend of the keys is one of the queries and distances.
    trend = slope[:, None] * positions
    distance, query, key = distance - trend, query + trend, key - trend
    query_mean, key_mean = (query @ weights[1])[:, None], (key @ weights[2])[:, None]
    return torch.stack([distance + query_mean + key_mean, query - query_mean, key - key_mean], dim=1)
