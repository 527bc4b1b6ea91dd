"""DuckDB's sums against numpy's, their bits, and what a wrong file of sums is called."""

from tempfile import gettempdir

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.fit.axes import AXES, COMBINATIONS, FULL, designs, draw_half, fit_axes, fix_gauge, half_mask
from triaxis.fit.schema import COMPONENTS, FITS, SUMS
from triaxis.fit.sums import read_sums, sum_logits, to_components, to_fits
from triaxis.logits.schema import LOGITS

LENGTH = 16
SHAPE = (2, 3, 2)  # sequences, layers, heads
HALF = draw_half(LENGTH, 0)


def some_matrices(length: int = LENGTH, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    sizes = 10 ** generator.uniform(-3, 3, (*SHAPE, 1, 1))
    return (sizes * generator.standard_normal((*SHAPE, length, length))).astype(np.float32)


def summed(files, half=HALF, threads=2) -> pa.Table:
    batches = list(sum_logits(files, half, threads=threads, memory_mb=512, spill=gettempdir()))
    return pa.concat_tables(batches).cast(SUMS)


@pytest.fixture
def sums_file(tmp_path, write_logits):
    """Write the sums of matrices as the pipeline does."""

    def write(matrices: np.ndarray, half=HALF):
        logits = write_logits(tmp_path / "logits.parquet", matrices)
        path = tmp_path / "sums.parquet"
        rows = sum_logits([logits], half, threads=2, memory_mb=512, spill=tmp_path)
        parquet.write_parquet(path, rows, SUMS, {})
        return path

    return write


def message(path, length: int = LENGTH, seed: int = 0) -> str:
    with pytest.raises(UserError) as caught:
        read_sums(path, *designs(length, seed))
    assert str(path) in str(caught.value)
    return str(caught.value)


# The sums


def test_the_sums_are_numpys(tmp_path, write_logits):
    matrices = some_matrices()
    query, key = np.tril_indices(LENGTH)
    half = half_mask(LENGTH, HALF)[query, key]
    levels = {"distance": query - key, "query": query, "key": key, "all": np.zeros_like(query)}
    rows = iter(summed([write_logits(tmp_path / "logits.parquet", matrices)]).to_pylist())
    for place in np.ndindex(*SHAPE):
        cells = matrices[place][query, key].astype(np.float64)
        for axis in sorted(levels):
            for index in range(1 if axis == "all" else LENGTH):
                own = levels[axis] == index
                row = next(rows)
                assert (row["sequence"], row["layer"], row["head"]) == place
                assert (row["axis"], row["index"]) == (axis, None if axis == "all" else index)
                for prefix, chosen in (("", own), ("half_", own & half)):
                    assert row[f"{prefix}count"] == chosen.sum()
                    values = cells[chosen]
                    scale = np.abs(values).sum() + 1e-300
                    assert row[f"{prefix}total"] == pytest.approx(values.sum(), rel=0, abs=1e-14 * scale)
                    assert row[f"{prefix}squares"] == pytest.approx((values**2).sum(), rel=1e-13)
    assert next(rows, None) is None


def test_numbers_of_sequences_layers_and_heads_survive_their_packing(tmp_path):
    table = pa.table([[2**31 - 1], [2**15 - 1], [2**15 - 1], [0], [0], [1.5]], schema=LOGITS)
    pq.write_table(table, tmp_path / "logits.parquet")
    assert summed([tmp_path / "logits.parquet"]).slice(0, 1).to_pylist()[0] == {
        "sequence": 2**31 - 1,
        "layer": 2**15 - 1,
        "head": 2**15 - 1,
        "axis": "all",
        "index": None,
        "count": 1,
        "total": 1.5,
        "squares": 2.25,
        "half_count": int(HALF.contains(np.array(0), np.array(0))),
        "half_total": 1.5 * HALF.contains(np.array(0), np.array(0)),
        "half_squares": 2.25 * HALF.contains(np.array(0), np.array(0)),
    }


def test_the_bits_do_not_depend_on_threads_or_on_the_run(tmp_path, write_logits):
    length = 96
    files = [write_logits(tmp_path / f"{first}.parquet", some_matrices(length, first), first) for first in (0, 2)]
    half = draw_half(length, 0)
    first, *others = (summed(files, half, threads) for threads in (1, 2, 2, 2))
    assert all(first.equals(other) for other in others)


def test_the_sums_over_all_cells_are_the_queries_added_up_in_order(tmp_path, write_logits):
    """To the bit, so that no schedule of threads can change them."""
    length = 96
    file = write_logits(tmp_path / "logits.parquet", some_matrices(length))
    table = summed([file], draw_half(length, 0))
    overall, queries = (table.filter(pc.equal(table["axis"], axis)) for axis in ("all", "query"))
    for name in ("total", "squares", "half_total", "half_squares"):
        rows = queries[name].to_numpy().reshape(len(overall), length)
        np.testing.assert_array_equal(overall[name], np.cumsum(rows, axis=1)[:, -1])


def test_several_files_are_summed_as_one(tmp_path, write_logits):
    matrices = some_matrices()
    apart = [write_logits(tmp_path / f"{n}.parquet", matrices[[n]], n) for n in range(2)]
    assert summed(apart).equals(summed([write_logits(tmp_path / "both.parquet", matrices)]))


def test_the_sums_come_in_batches(tmp_path, write_logits):
    layers, heads = 6, 512  # 150,528 rows of sums
    path = write_logits(tmp_path / "logits.parquet", np.zeros((1, layers, heads, LENGTH, LENGTH)))
    batches = [len(table) for table in sum_logits([path], HALF, threads=2, memory_mb=1024, spill=tmp_path)]
    assert len(batches) > 1
    assert sum(batches) == layers * heads * (3 * LENGTH + 1)


def test_logits_that_cannot_be_summed_are_named(tmp_path, write_logits):
    path = write_logits(tmp_path / "logits.parquet", some_matrices())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"logits\.parquet is not a whole Parquet file"):
        summed([path])
    pq.write_table(pa.table({"sequence": [1]}), path)
    with pytest.raises(UserError, match=r"logits\.parquet cannot be summed"):
        summed([path])


# Reading them back


def test_read_sums_orders_the_axes_as_the_fit_does(sums_file):
    matrices = some_matrices()
    place, whole, half = read_sums(sums_file(matrices), *designs(LENGTH, 0))
    assert [tuple(row.values()) for row in place.to_pylist()] == list(np.ndindex(*SHAPE))
    flat = np.tril(matrices).astype(np.float64).reshape(-1, LENGTH, LENGTH)
    for sums, chosen in ((whole, np.tril(np.ones((LENGTH, LENGTH)))), (half, half_mask(LENGTH, HALF))):
        cells = flat * chosen
        distance = np.stack([[np.trace(matrix, -d) for d in range(LENGTH)] for matrix in cells])
        expected = np.stack([distance, cells.sum(2), cells.sum(1)], axis=1)
        np.testing.assert_allclose(sums.totals, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(sums.squares, (cells**2).sum((1, 2)), rtol=1e-12)


def test_truncated_sums_are_refused(sums_file):
    path = sums_file(some_matrices())
    path.write_bytes(path.read_bytes()[:-50])
    assert "not a whole Parquet file" in message(path)


def test_sums_that_lack_rows_are_refused(sums_file):
    path = sums_file(some_matrices())
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) - 1), path)
    assert "lacks some sums" in message(path)
    pq.write_table(table.slice(0, 0), path)
    assert "lacks some sums" in message(path)


def test_sums_of_another_length_are_refused(sums_file):
    path = sums_file(some_matrices())
    assert "lacks some sums" in message(path, length=LENGTH + 1)


def test_sums_of_another_half_are_refused(sums_file):
    assert "half_count does not match sequences.length and fits.half_seed" in message(
        sums_file(some_matrices()), seed=1
    )


def test_sums_with_a_level_counted_twice_are_refused(sums_file):
    path = sums_file(some_matrices())
    table = pq.read_table(path)
    count = pc.add(table["count"], pa.array([0, 1] + [0] * (len(table) - 2)))
    pq.write_table(table.set_column(table.schema.get_field_index("count"), "count", count), path)
    assert ": count does not match sequences.length" in message(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_named(sums_file, value):
    matrices = some_matrices()
    matrices[1, 2, 0, 7, 3] = value
    said = message(sums_file(matrices))
    assert "{'sequence': 1, 'layer': 2, 'head': 0} are not all finite" in said


def test_cells_above_the_diagonal_may_be_anything(sums_file):
    matrices = some_matrices()
    matrices[..., 0, 1] = np.nan
    read_sums(sums_file(matrices), *designs(LENGTH, 0))


# The rows of fits/ and components/


def test_fits_and_components_keep_the_order_of_the_matrices(sums_file):
    whole, half = designs(LENGTH, 0)
    place, sums, half_sums = read_sums(sums_file(some_matrices()), whole, half)
    fits = {axes: fit_axes(sums, half_sums, whole, half, axes) for axes in COMBINATIONS}
    table = to_fits(place, sums, fits)
    assert table.schema == FITS
    rows = iter(table.to_pylist())
    for axes in COMBINATIONS:
        for number, matrix in enumerate(place.to_pylist()):
            fit = fits[axes]
            assert next(rows) == matrix | {
                "axes": axes,
                "r": fit.r[number],
                "r2": fit.r2[number],
                "adjusted_r2": fit.adjusted_r2[number],
                "heldout_r": fit.heldout_r[number],
                "null_r": fit.null_r,
                "cells": LENGTH * (LENGTH + 1) // 2,
                "parameters": fit.parameters,
                "count": LENGTH * (LENGTH + 1) // 2,
                "total": sums.total[number],
                "squares": sums.squares[number],
            }
    components = fix_gauge(fits[FULL].coefficients, whole.counts)
    table = to_components(place, components)
    assert table.schema == COMPONENTS
    rows = iter(table.to_pylist())
    for number, matrix in enumerate(place.to_pylist()):
        for axis, name in enumerate(AXES):
            for index in range(LENGTH):
                value = components[number, axis, index]
                assert next(rows) == matrix | {"axis": name, "index": index, "value": value}
    assert next(rows, None) is None


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_matrix_has_null_and_the_others_their_values(sums_file, value):
    """Not NaN, which would blank every mean that it enters."""
    matrices = some_matrices()
    matrices[:, 1] = value
    whole, half = designs(LENGTH, 0)
    place, sums, half_sums = read_sums(sums_file(matrices), whole, half)
    rows = to_fits(place, sums, {axes: fit_axes(sums, half_sums, whole, half, axes) for axes in COMBINATIONS})
    for row in rows.to_pylist():
        names = ("r", "r2", "adjusted_r2", "heldout_r")
        assert all((row[name] is None) == (row["layer"] == 1) for name in names)
        assert row["null_r"] > 0
