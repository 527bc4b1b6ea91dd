"""Sums of a logit matrix over each axis, exactly, in time linear in its length: no matrix is formed.

W_ij = x_i . y_j, with x the rotated and scaled queries and y the rotated keys. A sum over a query or a key is a product
with a running sum of the other side, one over a distance a correlation, and one of squares a product with the running
Gram matrix. The held-out cells are W_ij u_i . v_j (Groups.factors): the same sums of the vectors x_i u_i and y_j v_j.
docs/method/fit.md, "From vectors". Imports torch and numpy alone.
"""

import torch

from triaxis.attention.rope import Rotary, along
from triaxis.fit.axes import Sums, fft_size
from triaxis.fit.groups import Groups

Tensor = torch.Tensor

# Positions whose cells among one another are computed one by one, and dimensions that are transformed together.
CHUNK = 128
DIMENSIONS = 8


def rotate(vectors: Tensor, rotary: Rotary, positions: Tensor) -> Tensor:
    """Queries or keys (..., positions, head_dim), float64, before rotation -> after it: Rotary.rotate, with torch."""
    frequency = torch.from_numpy(rotary.frequency).to(vectors.device)
    angle = torch.outer(positions.double(), frequency)
    cos, sin = rotary.amplitude * angle.cos(), rotary.amplitude * angle.sin()
    own = along(rotary.real), along(rotary.imaginary)
    real, imaginary = (vectors[..., dims] for dims in own)
    rotated = vectors.clone()
    rotated[..., own[0]] = real * cos - imaginary * sin
    rotated[..., own[1]] = imaginary * cos + real * sin
    return rotated


def sum_over_axes(query: Tensor, key: Tensor, groups: Groups) -> tuple[Sums, Sums]:
    """The sums of all causal cells of n = heads matrices, and those of their held-out cells.

    query: (heads, length, head_dim) rotated and scaled, key: (key heads, length, head_dim) rotated, both float64; query
    head h reads key head h // (heads / key heads).
    """
    u, v = (torch.from_numpy(factor).to(query.device) for factor in groups.factors())
    query, key = query.unflatten(0, (len(key), -1)), key[:, None]
    by_query, by_key, squares = _by_position(query, key, u, v)
    by_group = [(by_query, u), (by_key, v), (squares, u)]
    # A cell is in one group of queries and one of keys: the held-out ones are those of the one group that goes with
    # the other side's own.
    whole = [values.sum(-1).flatten(0, 1) for values, _ in by_group]
    heldout = [(values * own.T).sum(-1).flatten(0, 1) for values, own in by_group]
    by_distance = _by_distance(query, key, u, v).flatten(1, 2)
    return tuple(  # type: ignore[return-value]
        Sums(torch.stack([distance, own[0], own[1]], dim=1), own[2].sum(-1))
        for distance, own in zip(by_distance, (whole, heldout), strict=True)
    )


def _by_distance(query: Tensor, key: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """(2, key heads, group, length): the sums over each distance of all cells, and of the held-out ones.

    The dimensions' spectra are summed before the one inverse transform.
    """
    length = query.shape[-2]
    size = fft_size(length)
    heads = torch.broadcast_shapes(query.shape[:2], key.shape[:2])
    spectrum = torch.zeros(2, *heads, size // 2 + 1, dtype=torch.complex128, device=query.device)
    for x, y in zip(query.split(DIMENSIONS, -1), key.split(DIMENSIONS, -1), strict=True):
        # (3, key heads, group, dimensions, frequencies), a row a group of positions.
        x_spectrum = torch.fft.rfft(x.mT * u[:, None, None, None], size)
        y_spectrum = torch.fft.rfft(y.mT * v[:, None, None, None], size).conj()
        spectrum[0] += (x_spectrum.sum(0) * y_spectrum.sum(0)).sum(-2)
        spectrum[1] += (x_spectrum * y_spectrum).sum((0, -2))
    return torch.fft.irfft(spectrum, size)[..., :length]


def _by_position(query: Tensor, key: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums by query, sums by key, and sums of squares by query, (key heads, group, length, 3) each: the last axis is
    the group of the other side's position, as in v for the queries and in u for the keys.

    What lies before a chunk of positions enters through running sums, what lies within it cell by cell.
    """
    chunks = [
        (x, y, u_.T, v_.T)
        for x, y, u_, v_ in zip(
            query.split(CHUNK, -2), key.split(CHUNK, -2), u.split(CHUNK, -1), v.split(CHUNK, -1), strict=True
        )
    ]
    later = [torch.zeros_like(chunks[-1][0].mT @ chunks[-1][2])]  # sums of the queries behind each chunk
    for x, _, own, _ in reversed(chunks[1:]):
        later.append(later[-1] + x.mT @ own)
    earlier = torch.zeros_like(chunks[0][1].mT @ chunks[0][3])  # of the keys before it, and their Gram matrices
    gram = torch.zeros(len(key), 1, 3, key.shape[-1], key.shape[-1], dtype=key.dtype, device=key.device)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for (x, y, own, others), behind in zip(chunks, reversed(later), strict=True):
        cells = (x @ y.mT).tril()
        quadratic = ((x[:, :, None] @ gram) * x[:, :, None]).sum(-1).mT
        found.append((cells @ others + x @ earlier, cells.mT @ own + y @ behind, cells.square() @ others + quadratic))
        earlier = earlier + y.mT @ others
        gram = gram + (y[:, :, None] * others.T[:, :, None]).mT @ y[:, :, None]
    by_query, by_key, squares = (torch.cat(parts, dim=-2) for parts in zip(*found, strict=True))
    return by_query, by_key, squares
