"""Sums of logits over each axis on the device that makes them, so that no logit is ever written.

The same rows of sums/ as sums.py takes from files of logits/ with DuckDB.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import torch

from triaxis.attention.rope import Rotary
from triaxis.fit.axes import designs
from triaxis.fit.schema import SUMS
from triaxis.logits.features import Features
from triaxis.logits.logits import chosen_heads

Tensor = torch.Tensor


def logits_on(device: torch.device, features: Features, rotary: Rotary) -> Tensor:
    """W (heads, length, length) float32 of one layer on `device`: logits.logits, with torch.

    The rotation is done in float64, on the CPU where the device has none (MPS).
    """
    place = torch.device("cpu") if device.type == "mps" else device
    angle = torch.outer(
        torch.arange(features.query.shape[1], dtype=torch.float64, device=place),
        torch.from_numpy(rotary.frequency).to(place),
    )
    cos, sin = rotary.amplitude * angle.cos(), rotary.amplitude * angle.sin()

    def rotate(vectors: Tensor) -> Tensor:
        real, imaginary = vectors[..., rotary.real], vectors[..., rotary.imaginary]
        rotated = vectors.clone()
        rotated[..., rotary.real] = real * cos - imaginary * sin
        rotated[..., rotary.imaginary] = imaginary * cos + real * sin
        return rotated

    query, key = (torch.from_numpy(x.copy()).to(place).double() for x in (features.query, features.key))
    query, key = (rotary.scale * rotate(query)).float().to(device), rotate(key).float().to(device)
    return (query.unflatten(0, (len(key), -1)) @ key[:, None].mT).flatten(0, 1)


def over_axes(cells: Tensor) -> Tensor:
    """(..., length, length), 0 above the diagonal -> (..., 3, length): sums over each distance, key and query."""
    length = cells.shape[-1]
    # Reversed and one column longer, a diagonal becomes a column when the same cells are read `length` to a row.
    skewed = torch.nn.functional.pad(cells.flip(-1), (0, 1)).flatten(-2).unflatten(-1, (length + 1, length))
    return torch.stack([skewed.sum(-2).roll(1, -1), cells.sum(-2), cells.sum(-1)], dim=-2)


class MatrixSums:
    """Turns logit matrices of one length into the rows of sums/."""

    def __init__(self, length: int, half_seed: int, device: torch.device) -> None:
        """The sums are taken in float64, on the CPU where `device` has none."""
        self.device = torch.device("cpu") if device.type == "mps" else device
        whole, half = designs(length, half_seed)
        self.half = torch.from_numpy(half.mask).to(self.device)
        # (3, length) cells of each level, in the order of the rows: distance, key, query.
        self.counts = [design.counts[[0, 2, 1]] for design in (whole, half)]

    def rows(self, sequence: int, layer: int, heads: list[int], logits: Tensor) -> pa.Table:
        """logits: (heads, length, length), of the query heads called `heads` -> their rows, sorted by head, axis
        ('all', 'distance', 'key', 'query') and index."""
        w = logits.to(self.device).double().tril()
        parts = [w, w * w]
        parts += [part * self.half for part in parts]
        total, squares, half_total, half_squares = (over_axes(part).cpu().numpy() for part in parts)
        count, half_count = self.counts
        n, _, length = total.shape

        def column(levels: np.ndarray) -> np.ndarray:
            """(heads, 3, length) -> a column, each head's levels behind the sum of its queries."""
            return np.concatenate([levels[:, 2].sum(-1, keepdims=True), levels.reshape(n, -1)], axis=1).reshape(-1)

        index = np.concatenate([[-1], np.tile(np.arange(length), 3)])
        rows = len(index)
        axis = pa.DictionaryArray.from_arrays(
            np.tile(np.repeat(np.arange(4, dtype=np.int8), [1, length, length, length]), n),
            ["all", "distance", "key", "query"],
        )
        columns = {
            "sequence": np.full(n * rows, sequence),
            "layer": np.full(n * rows, layer),
            "head": np.repeat(heads, rows),
            "axis": axis.cast(pa.string()),
            "index": pa.array(np.tile(index, n), mask=np.tile(index < 0, n)),
            "count": column(np.broadcast_to(count, total.shape)),
            "total": column(total),
            "squares": column(squares),
            "half_count": column(np.broadcast_to(half_count, total.shape)),
            "half_total": column(half_total),
            "half_squares": column(half_squares),
        }
        return pa.table(columns).cast(SUMS)


def sum_features(
    features: Iterable[Features],
    rotaries: dict[int, Rotary],
    heads: list[int] | None,
    sums: MatrixSums,
    device: torch.device,
) -> Iterator[pa.Table]:
    """The rows of sums/, a table for each (sequence, layer) of `features`; heads: those to keep, None for all.

    Raises UserError if a head is out of range.
    """
    for layer in features:
        chosen = chosen_heads(heads, len(layer.query))
        matrices = logits_on(device, layer, rotaries[layer.layer])
        yield sums.rows(layer.sequence, layer.layer, chosen, matrices if heads is None else matrices[chosen])
