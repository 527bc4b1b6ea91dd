"""Sums of logits over each axis: all that the fits need, from one scan of logits/ by DuckDB."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.fit import axes
from triaxis.fit.axes import Design, Fit, Half, Sums
from triaxis.fit.schema import COMPONENTS, FITS

# One packed integer a logit matrix, not three columns: grouping is a third faster. Each cell has one query, so
# the sums over all cells are those over the queries' sums, added up in order: the same bits on every run.
QUERY = """
WITH cells AS (
    SELECT (sequence::BIGINT << 32) | (layer::BIGINT << 16) | head::BIGINT AS matrix,
           query - key AS distance, query, key,
           logit::DOUBLE AS w, w * w AS w2,
           (query * {a}::BIGINT + key * {b}::BIGINT + {c}::BIGINT) % {prime}::BIGINT AS mixed,
           (mixed * mixed % {prime}::BIGINT & 1)::DOUBLE AS half
    FROM read_parquet($files)
), levels AS (
    SELECT matrix,
           CASE GROUPING(distance, query, key) WHEN 3 THEN 'distance' WHEN 5 THEN 'query' ELSE 'key' END AS axis,
           coalesce(distance, query, key) AS index,
           count(*) AS count, sum(w) AS total, sum(w2) AS squares,
           sum(half)::BIGINT AS half_count, sum(w * half) AS half_total, sum(w2 * half) AS half_squares
    FROM cells
    GROUP BY GROUPING SETS ((matrix, distance), (matrix, query), (matrix, key))
), everything AS (
    SELECT * FROM levels
    UNION ALL
    SELECT matrix, 'all', NULL, sum(count)::BIGINT, sum(total ORDER BY index), sum(squares ORDER BY index),
           sum(half_count)::BIGINT, sum(half_total ORDER BY index), sum(half_squares ORDER BY index)
    FROM levels WHERE axis = 'query' GROUP BY matrix
)
SELECT (matrix >> 32)::INTEGER AS sequence, (matrix >> 16 & 65535)::SMALLINT AS layer,
       (matrix & 65535)::SMALLINT AS head, * EXCLUDE (matrix)
FROM everything ORDER BY matrix, axis, index
"""


def sum_logits(
    files: Sequence[str | Path], half: Half, *, threads: int, memory_mb: int, spill: str | Path
) -> Iterator[pa.Table]:
    """The rows of sums/ for Parquet files of logits/, in batches; DuckDB spills to the folder `spill`.

    Raises UserError if a file is not whole or not Parquet.
    """
    for file in files:
        parquet.open_parquet(file).close()
    settings: dict[str, str | bool | int | float | list[str]]
    settings = {"threads": threads, "memory_limit": f"{memory_mb}MB", "temp_directory": str(spill)}
    with duckdb.connect(config=settings) as connection:
        query = QUERY.format(a=half.a, b=half.b, c=half.c, prime=axes.PRIME)
        try:
            rows = connection.sql(query, params={"files": [str(file) for file in files]})
            for batch in rows.to_arrow_reader():
                yield pa.Table.from_batches([batch])
        except duckdb.Error as error:
            raise UserError(f"the logits in {', '.join(map(str, files))} cannot be summed: {error}") from None


def read_sums(path: str | Path, whole_design: Design, half_design: Design) -> tuple[pa.Table, Sums, Sums]:
    """A file of sums/ -> its n matrices (sequence, layer, head), their sums, and those of the half of their cells.

    Raises UserError if a sum is not finite or the cells counted are not those of the designs.
    """
    table = parquet.read_parquet(path)
    axis = table["axis"].to_numpy()
    levels = table.filter(pa.array(axis != "all"))
    overall = table.filter(pa.array(axis == "all"))
    n = len(overall)
    if n == 0 or len(levels) != 3 * n * whole_design.length:
        raise UserError(f"{path} lacks some sums: delete it and rerun")

    def by_axis(column: str) -> NDArray:
        # The file is sorted by axis name: distance, key, query; AXES has query before key.
        return levels[column].to_numpy().reshape(n, 3, -1)[:, [0, 2, 1]]

    whole = Sums(by_axis("total"), overall["squares"].to_numpy())
    half = Sums(by_axis("half_total"), overall["half_squares"].to_numpy())
    matrices = overall.select(["sequence", "layer", "head"])
    finite = np.isfinite(whole.totals).all((1, 2)) & np.isfinite(whole.squares)
    if not finite.all():
        bad = matrices.slice(int(np.argmin(finite)), 1).to_pylist()[0]
        raise UserError(f"{path}: the logits of {bad} are not all finite: look at the model's weights and dtype")
    for column, design in (("count", whole_design), ("half_count", half_design)):
        if (by_axis(column) != design.counts).any():
            raise UserError(f"{path}: {column} does not match sequences.length and fits.half_seed: delete it and rerun")
    return matrices, whole, half


def to_fits(matrices: pa.Table, sums: Sums, fits: dict[str, Fit]) -> pa.Table:
    """The rows of fits/ for n matrices: each combination of axes in turn, in the order of the matrices.

    sums: of all cells of the matrices, which a fit is made of. A constant matrix has null for r and its like.
    """
    parts = [
        pa.table(
            {
                **{name: matrices[name] for name in matrices.column_names},
                "axes": pa.repeat(axes_name, len(matrices)),
                **{
                    name: pa.array(getattr(fit, name), from_pandas=True)
                    for name in ("r", "r2", "adjusted_r2", "heldout_r")
                },
                "null_r": np.full(len(matrices), fit.null_r),
                "cells": np.full(len(matrices), fit.cells),
                "parameters": np.full(len(matrices), fit.parameters, dtype=np.int32),
                "count": np.full(len(matrices), fit.cells),
                "total": sums.total,
                "squares": sums.squares,
            }
        )
        for axes_name, fit in fits.items()
    ]
    return pa.concat_tables(parts).cast(FITS)


def to_components(matrices: pa.Table, components: NDArray[np.float64]) -> pa.Table:
    """The rows of components/ for n matrices; components: (n, 3, length)."""
    n, _, length = components.shape
    axis = pa.DictionaryArray.from_arrays(np.tile(np.repeat(np.arange(3, dtype=np.int8), length), n), list(axes.AXES))
    columns = [np.repeat(matrices[name].to_numpy(), 3 * length) for name in matrices.column_names]
    index = np.tile(np.arange(length, dtype=np.int32), 3 * n)
    return pa.table([*columns, axis.cast(pa.string()), index, components.reshape(-1)], schema=COMPONENTS)
