"""The rows of fits/ and components/: every combination of axes, fitted to matrices given by their sums."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from triaxis.base import parquet
from triaxis.fit.axes import Design, Fit, Sums, fit_axes, fix_gauge
from triaxis.fit.combinations import AXES, COMBINATIONS, FULL
from triaxis.fit.schema import COMPONENTS, FITS
from triaxis.fit.summed import Summed

Designs = Mapping[int, tuple[Design, Design]]


def write_fits(
    summed: Iterable[Summed],
    designs: Designs,
    fits: str | Path,
    components: str | Path,
    metadata: Mapping[str, str],
    log: logging.Logger,
) -> None:
    """Fit the matrices and write the files `fits` and `components`; constant matrices are named in the log.

    designs: length -> as `axes.designs` gives them; the longest is that of the whole sequences, whose components are
    written.
    """
    full, rows = max(designs), []

    def fitted() -> Iterator[pa.Table]:
        for part in summed:
            own = {axes: fit_axes(part.whole, part.heldout, *designs[part.length], axes) for axes in COMBINATIONS}
            rows.append(to_fits(part.matrices, part.length, part.whole, own))
            if part.length == full:
                counts = designs[full][0].counts
                yield to_components(part.matrices, fix_gauge(own[FULL].coefficients, counts).cpu().numpy())

    parquet.write_parquet(components, parquet.batched(fitted()), COMPONENTS, metadata)
    table = pa.concat_tables(rows)
    _name_constant(table.filter((pc.field("axes") == FULL) & (pc.field("prefix") == full)), log)
    parquet.write_parquet(fits, table, FITS, metadata)


def _name_constant(full_fits: pa.Table, log: logging.Logger) -> None:
    constant = full_fits.filter(pc.is_null(full_fits["r"]))
    if len(constant):
        log.warning(
            "%d of %d logit matrices are constant and have no r, in layers %s: means leave them out",
            *(len(constant), len(full_fits), sorted(set(constant["layer"].to_pylist()))),
        )


def to_fits(matrices: pa.Table, length: int, sums: Sums, fits: Mapping[str, Fit]) -> pa.Table:
    """The rows of fits/ for n matrices: each combination of axes in turn, in the order of the matrices.

    sums: of all cells of the matrices, which a fit is made of. A constant matrix has null for r and its like.
    """
    n = len(matrices)
    parts = [
        pa.table(
            {
                **{name: matrices[name] for name in matrices.column_names},
                "prefix": np.full(n, length, dtype=np.int32),
                "axes": pa.repeat(axes, n),
                **{
                    name: pa.array(getattr(fit, name).cpu().numpy(), from_pandas=True)
                    for name in ("r", "r2", "adjusted_r2", "heldout_r")
                },
                "null_r": np.full(n, fit.null_r),
                "cells": np.full(n, fit.cells),
                "parameters": np.full(n, fit.parameters, dtype=np.int32),
                "count": np.full(n, fit.cells),
                "total": sums.total.cpu().numpy(),
                "squares": sums.squares.cpu().numpy(),
            }
        )
        for axes, fit in fits.items()
    ]
    return pa.concat_tables(parts).cast(FITS)


def to_components(matrices: pa.Table, components: NDArray[np.float64]) -> pa.Table:
    """The rows of components/ for n matrices; components: (n, 3, length)."""
    n, _, length = components.shape
    axis = pa.DictionaryArray.from_arrays(np.tile(np.repeat(np.arange(3, dtype=np.int8), length), n), list(AXES))
    columns = [np.repeat(matrices[name].to_numpy(), 3 * length) for name in matrices.column_names]
    index = np.tile(np.arange(length, dtype=np.int32), 3 * n)
    return pa.table([*columns, axis.cast(pa.string()), index, components.reshape(-1)], schema=COMPONENTS)
