"""The paper's check in matrix form: what a logit matrix becomes when every distance is the same dummy distance.

W_d[i, j] = w(d, q_i, k_j) over the causal cells. With the distance constant, the distance axis is one constant, and the
fit is b_i + c_j. It is linear in W_d, so its key component is Re sum_m Y_jm exp(1j t_m d), where Y_m is that of the
matrix q_im conj(k_jm): one fit a component serves every distance, and has a closed form. What is asked of it, its
variance over keys and its covariance with the key component of the true matrix, is a quadratic and a linear form in
exp(1j t_m d). Han & Ji 2025, section 4; docs/method/mechanism.md, "The dummy-distance matrix".
"""

from dataclasses import dataclass

import torch

from triaxis.attention.pairs import as_real
from triaxis.fit.axes import FULL, Design, fix_gauge
from triaxis.mechanism.components import by_key_head
from triaxis.mechanism.moments import variances

Tensor = torch.Tensor

# Of what a variance is made of: what is less is rounding.
ROUNDING = 1e-14

# Dimensions that are transformed together: few enough for a core's cache.
DIMENSIONS = 16


def from_later(values: Tensor) -> Tensor:
    """sum over i > j: (..., length, components) -> (..., length - 1, components), for j = 0 to length - 2."""
    sums = values.cumsum(-2)
    return sums[..., -1:, :] - sums[..., :-1, :]


def true_totals(query: Tensor, key: Tensor) -> Tensor:
    """Sums of the logit matrix Re sum_m q_im conj(k_jm) over the cells of each distance, query and key: (..., 3,
    length).

    query, key: (..., length, components), rotated, the query scaled. By distance the sums are a correlation, of which
    one inverse transform takes all dimensions.
    """
    length, x, y = query.shape[-2], as_real(query), as_real(key)
    spectrum = torch.zeros((), dtype=torch.complex128, device=query.device)
    for some in zip(x.split(DIMENSIONS, -1), y.split(DIMENSIONS, -1), strict=True):
        ours, theirs = (torch.fft.rfft(values.mT, 2 * length) for values in some)
        spectrum = spectrum + torch.linalg.vecdot(theirs, ours, dim=-2)
    by_distance = torch.fft.irfft(spectrum, 2 * length)[..., :length]
    by_query = torch.linalg.vecdot(x, y.cumsum(-2))
    by_key = torch.linalg.vecdot(x.sum(-2, keepdim=True) - x.cumsum(-2) + x, y)
    return torch.stack([by_distance, by_query, by_key], dim=-2)


def key_spectrum(query: Tensor, key: Tensor) -> Tensor:
    """Y (..., length, components): c_j of the least-squares fit b_i + c_j to q_im conj(k_jm) over the causal cells,
    with c_0 = 0, since a constant is free.

    query, key: (..., length, components). With n keys before key n, their mean k', and the mean q' of the queries from
    n on, c_n is q' conj(k_n - k') and, of each earlier key, the same over the number of keys up to it.
    docs/method/mechanism.md, "The fit of queries and keys, without solving"."""
    length = query.shape[-2]
    before = torch.arange(1, length, dtype=torch.float64, device=query.device)[:, None]
    news = key[..., 1:, :] - key.cumsum(-2)[..., :-1, :] / before
    jump = from_later(query).div_(length - before).mul_(news.conj())
    spectrum = torch.zeros_like(query)
    spectrum[..., 1:, :] = jump
    spectrum[..., 2:, :] += (jump / (before + 1)).cumsum(-2)[..., :-1, :]
    return spectrum


def detrended(values: Tensor, weight: Tensor) -> Tensor:
    """values (heads, length, n) without their weighted mean and linear trend over the length; weight: (length,), of sum
    1."""
    place = torch.arange(len(weight), dtype=torch.float64, device=weight.device)
    basis = torch.stack([torch.ones_like(place), place - weight @ place], dim=1)
    # A trend of one key is nothing.
    size = (weight[:, None] * basis.square()).sum(0).clamp(min=torch.finfo(weight.dtype).tiny)
    trend = (weight[:, None] * basis).mT @ values / size[:, None]
    return values.baddbmm(basis.expand(len(values), -1, -1), trend, alpha=-1)


@dataclass(frozen=True)
class Dummies:
    """Of each head at each dummy distance, (heads, distances).

    key_correlation: correlation, over the keys, weighted by their cells, of the key component of W_d with that of the
    true matrix; NaN if one is constant. mean: of W_d over its cells. component: a_d of the true fit, in the stated
    gauge, which holds the matrix's mean.
    """

    key_correlation: Tensor
    mean: Tensor
    component: Tensor


def true_components(query: Tensor, key: Tensor, design: Design) -> Tensor:
    """The three-axis fit of the true matrices, (heads, 3, length), in the stated gauge.

    query: (heads, length, components), rotated and scaled; key: (key heads, length, components), rotated; design: of
    all causal cells.
    """
    totals = true_totals(by_key_head(query, len(key)), key[:, None]).flatten(0, 1)
    return fix_gauge(design.solve(FULL, totals), design.counts)


def refit(query: Tensor, key: Tensor, turn: Tensor, distances: Tensor, true: Tensor, design: Design) -> Dummies:
    """The dummy-distance matrices of some heads.

    query: (heads, length, components), scaled; key: (key heads, length, components); turn: (distances, components),
    exp(1j t_m d) of `distances`; true: (heads, 3, length), as of `true_components`; design: of all causal cells.
    """
    query, key = by_key_head(query, len(key)), key[:, None]
    total = torch.linalg.vecdot(key.cumsum(-2), query, dim=-2).flatten(0, 1)
    correlation = key_correlation(key_spectrum(query, key).flatten(0, 1), turn, true, design.counts[2] / design.cells)
    return Dummies(correlation, (total @ turn.mT).real / design.cells, true[:, 0, distances])


def key_correlation(spectrum: Tensor, turn: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """(heads, distances): weighted correlation over keys of Re sum_m spectrum_jm turn_m with true[:, 2], without the
    trend of either.

    spectrum: (heads, length, components); turn: (distances, components); true: (heads, 3, length), the components of
    the true matrix; weight: (length,), of sum 1.
    """
    # Real parts and imaginary ones of conj(spectrum): their product with those of a turn is the sum's real part.
    parts = as_real(spectrum.conj().resolve_conj())
    left, own = detrended(parts, weight), detrended(true[:, 2, :, None], weight)
    weighted = weight[:, None] * left
    covariance = (own.mT @ weighted @ as_real(turn).mT)[:, 0]
    variance = variances(turn.expand(len(left), -1, -1), weighted.mT @ left)
    own_variance = weight @ own.square()
    floor = ROUNDING * (weight @ parts.square()).sum(-1, keepdim=True)
    own_floor = ROUNDING * true.square().mean((1, 2))[:, None]
    known = (variance > floor) & (own_variance > own_floor)
    return torch.where(known, covariance / (variance * own_variance).sqrt(), torch.nan)
