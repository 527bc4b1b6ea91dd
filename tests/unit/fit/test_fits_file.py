"""The rows of fits/ and components/, and the files that hold them."""

import logging

import numpy as np
import pyarrow.parquet as pq
import pytest

from triaxis.base import parquet
from triaxis.fit.axes import designs, fit_axes, fix_gauge
from triaxis.fit.combinations import AXES, COMBINATIONS, FULL
from triaxis.fit.fits_file import to_components, to_fits, write_fits
from triaxis.fit.schema import COMPONENTS, FITS
from triaxis.fit.sums_file import read_sums
from unit.fit.conftest import LENGTH, PREFIX, SHAPE, some_matrices


@pytest.fixture
def written(sums_file, tmp_path):
    """The tables of fits/ and components/ that matrices give."""

    def write(matrices: np.ndarray):
        path = sums_file(matrices)
        by_length = {length: designs(length, 0) for length in (LENGTH, PREFIX)}
        summed = (part for own in by_length.values() for part in read_sums(path, *own))
        files = [tmp_path / "fits.parquet", tmp_path / "components.parquet"]
        write_fits(summed, by_length, *files, {"model": "tiny"}, logging.getLogger("triaxis.test"))
        assert all(parquet.read_metadata(file) == {"model": "tiny"} for file in files)
        return [pq.read_table(file) for file in files]

    return write


def test_fits_and_components_keep_the_order_of_the_matrices(sums_file):
    whole, seen = designs(LENGTH, 0)
    (own,) = read_sums(sums_file(some_matrices()), whole, seen)
    fits = {axes: fit_axes(own.whole, own.heldout, whole, seen, axes) for axes in COMBINATIONS}
    table = to_fits(own.matrices, LENGTH, own.whole, fits)
    assert table.schema == FITS
    rows = iter(table.to_pylist())
    for axes in COMBINATIONS:
        for number, matrix in enumerate(own.matrices.to_pylist()):
            fit = fits[axes]
            assert next(rows) == matrix | {
                "prefix": LENGTH,
                "axes": axes,
                "r": fit.r[number],
                "r2": fit.r2[number],
                "adjusted_r2": fit.adjusted_r2[number],
                "heldout_r": fit.heldout_r[number],
                "null_r": fit.null_r,
                "cells": LENGTH * (LENGTH + 1) // 2,
                "parameters": fit.parameters,
                "count": LENGTH * (LENGTH + 1) // 2,
                "total": own.whole.total[number],
                "squares": own.whole.squares[number],
            }
    components = fix_gauge(fits[FULL].coefficients, whole.counts).numpy()
    table = to_components(own.matrices, components)
    assert table.schema == COMPONENTS
    rows = iter(table.to_pylist())
    for number, matrix in enumerate(own.matrices.to_pylist()):
        for axis, name in enumerate(AXES):
            for index in range(LENGTH):
                value = components[number, axis, index]
                assert next(rows) == matrix | {"axis": name, "index": index, "value": value}
    assert next(rows, None) is None


def test_first_tokens_are_fitted_by_themselves_and_have_no_components(written):
    matrices = some_matrices()
    fits, components = written(matrices)
    assert len(components) == np.prod(SHAPE) * 3 * LENGTH
    query, key = np.tril_indices(PREFIX)
    for row in fits.to_pylist():
        if row["prefix"] == PREFIX and row["axes"] == "query":
            cells = matrices[row["sequence"], row["layer"], row["head"]][query, key].astype(float)
            means = np.bincount(query, cells) / np.bincount(query)
            assert row["r"] == pytest.approx(np.corrcoef(cells, means[query])[0, 1], abs=1e-9)
            assert row["cells"] == row["count"] == len(cells)
    assert sorted(set(fits["prefix"].to_pylist())) == [PREFIX, LENGTH]
    assert len(fits) == 2 * len(COMBINATIONS) * np.prod(SHAPE)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_matrix_has_null_and_the_others_their_values(written, value, caplog):
    """Not NaN, which would blank every mean that it enters."""
    matrices = some_matrices()
    matrices[:, 1] = value
    with caplog.at_level(logging.WARNING):
        fits, _ = written(matrices)
    for row in fits.to_pylist():
        names = ("r", "r2", "adjusted_r2", "heldout_r")
        assert all((row[name] is None) == (row["layer"] == 1) for name in names)
        assert row["null_r"] > 0
    (line,) = caplog.messages
    assert line.startswith("4 of 12 logit matrices are constant and have no r, in layers [1]")
