"""The rows of sums/, read back for the fit."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.base.parquet import MATRIX
from triaxis.base.progress import progress
from triaxis.fit.axes import Design, Sums
from triaxis.fit.summed import LEVELS, Summed, require_finite


def read_sums(path: str | Path, whole: Design, seen: Design) -> Iterator[Summed]:
    """The sums of the matrices of a file whose length is that of the designs, some matrices at a time.

    Raises UserError if sums are missing or not finite, or if the cells counted are not those of the designs.
    """
    length = whole.length
    table = parquet.read_parquet(path)
    table = table.filter(pc.field("prefix") == length)
    per_matrix = 3 * length + 1
    if len(table) == 0 or len(table) % per_matrix:
        raise UserError(f"{path} lacks some sums: delete it and rerun")
    step = max(1, LEVELS // length) * per_matrix
    starts = range(0, len(table), step)
    for start in progress(starts, f"fit, {length} tokens", "batch"):
        yield require_finite(_summed(path, table.slice(start, step), whole, seen), path)


def _summed(path: str | Path, table: pa.Table, whole: Design, seen: Design) -> Summed:
    """A slice of the rows, whole matrices."""
    n, length = len(table) // (3 * whole.length + 1), whole.length
    # Sorted by axis: all, distance, key, query. AXES has query before key.
    levels = {name: table[name].to_numpy().reshape(n, -1) for name in table.column_names[4:]}
    named = levels["axis"].reshape(n, -1)
    expected = ["all", *["distance"] * length, *["key"] * length, *["query"] * length]
    if (named != expected).any():
        raise UserError(f"{path} lacks some sums: delete it and rerun")

    def by_axis(column: str) -> NDArray:
        return levels[column][:, 1:].reshape(n, 3, length)[:, [0, 2, 1]]

    for column, counts in (("count", whole.counts), ("heldout_count", whole.counts - seen.counts)):
        if (by_axis(column) != counts.numpy()).any():
            raise UserError(
                f"{path}: {column} does not match sequences.length and fits.heldout_seed: delete it and rerun"
            )
    sums = [
        Sums(torch.from_numpy(by_axis(f"{part}total")), torch.from_numpy(levels[f"{part}squares"][:, 0].copy()))
        for part in ("", "heldout_")
    ]
    matrices = table.select([name for name, _ in MATRIX]).take(list(range(0, len(table), 3 * length + 1)))
    return Summed(matrices, *sums)
