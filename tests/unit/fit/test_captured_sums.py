"""Dense sums of captured logits against DuckDB's over written ones, and against numpy's over single levels."""

from tempfile import gettempdir

import numpy as np
import pyarrow as pa
import pytest
import torch

from triaxis.fit.captured_sums import MatrixSums, over_axes
from triaxis.fit.groups import draw_groups
from triaxis.fit.schema import SUMS
from triaxis.fit.sums import sum_logits

CPU = torch.device("cpu")
LENGTH, SEED = 18, 3


def some_matrices() -> torch.Tensor:
    return torch.randn(2, LENGTH, LENGTH, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("length", [1, 2, 7])
def test_cells_are_summed_over_each_distance_key_and_query(length):
    cells = torch.arange(2 * length**2, dtype=torch.float64).reshape(2, length, length).tril()
    distance = [[sum(m[d + j, j] for j in range(length - d)) for d in range(length)] for m in cells.numpy()]
    expected = np.stack([distance, cells.sum(1), cells.sum(2)], axis=1)
    np.testing.assert_array_equal(over_axes(cells), expected)


def test_the_rows_are_those_that_duckdb_sums_from_the_written_logits(tmp_path, write_logits):
    matrices = some_matrices()
    path = write_logits(tmp_path / "logits.parquet", matrices.numpy()[None, None], 5)
    for length, own in zip((LENGTH, 12), MatrixSums([LENGTH, 12], SEED, CPU).rows(5, 0, [0, 1], matrices), strict=True):
        groups = draw_groups(length, SEED)
        written = pa.concat_tables(sum_logits([path], groups, threads=1, memory_mb=256, spill=gettempdir()))
        for name in SUMS.names:
            found, expected = own[name], written.cast(SUMS)[name]
            if pa.types.is_floating(found.type):
                np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=1e-12, atol=1e-12)
            else:
                assert found.combine_chunks() == expected.combine_chunks(), name


def test_what_is_above_the_diagonal_does_not_count():
    matrices = some_matrices()
    masked = matrices.masked_fill(torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1), float("-inf"))
    sums = MatrixSums([LENGTH], SEED, CPU)
    assert list(sums.rows(0, 0, [0, 1], masked)) == list(sums.rows(0, 0, [0, 1], matrices))
