"""Sums read back for the fit, and what a wrong file of sums is called."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from triaxis.base.errors import UserError
from triaxis.fit import sums_file as sums_file_module
from triaxis.fit.axes import designs
from triaxis.fit.groups import draw_groups
from triaxis.fit.sums_file import read_sums
from unit.fit.conftest import LENGTH, PREFIX, SHAPE, some_matrices


def message(path, length: int = LENGTH, seed: int = 0) -> str:
    with pytest.raises(UserError) as caught:
        list(read_sums(path, *designs(length, seed)))
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("length", [LENGTH, PREFIX])
def test_read_sums_orders_the_axes_as_the_fit_does(sums_file, length):
    matrices = some_matrices()
    (found,) = read_sums(sums_file(matrices), *designs(length, 0))
    assert found.length == length
    assert [tuple(row.values()) for row in found.matrices.to_pylist()] == list(np.ndindex(*SHAPE))
    flat = np.tril(matrices).astype(np.float64).reshape(-1, LENGTH, LENGTH)[:, :length, :length]
    heldout = draw_groups(length, 0).hold_out(*np.ogrid[:length, :length])
    for sums, chosen in ((found.whole, np.ones((length, length))), (found.heldout, heldout)):
        cells = flat * chosen
        distance = np.stack([[np.trace(matrix, -d) for d in range(length)] for matrix in cells])
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
    assert "lacks some sums" in message(path, PREFIX)
    pq.write_table(pa.concat_tables([table.slice(0, 5), table.slice(6), table.slice(7, 1)]), path)
    assert "lacks some sums" in message(path)
    pq.write_table(table.slice(0, 0), path)
    assert "lacks some sums" in message(path)


def test_sums_of_another_length_are_refused(sums_file):
    path = sums_file(some_matrices())
    assert "lacks some sums" in message(path, length=LENGTH + 1)


def test_sums_of_other_groups_are_refused(sums_file):
    said = message(sums_file(some_matrices()), seed=1)
    assert "heldout_count does not match sequences.length and fits.heldout_seed" in said


def test_matrices_come_some_at_a_time(sums_file, monkeypatch):
    path = sums_file(some_matrices())
    (together,) = read_sums(path, *designs(LENGTH, 0))
    monkeypatch.setattr(sums_file_module, "LEVELS", 5 * LENGTH)
    parts = list(read_sums(path, *designs(LENGTH, 0)))
    assert [len(part.matrices) for part in parts] == [5, 5, 2]
    assert pa.concat_tables([part.matrices for part in parts]) == together.matrices
    np.testing.assert_array_equal(np.concatenate([part.heldout.totals for part in parts]), together.heldout.totals)


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
    list(read_sums(sums_file(matrices), *designs(LENGTH, 0)))
