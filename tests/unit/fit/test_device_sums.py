"""Sums on the device against DuckDB's over the written logits, and against numpy's over single levels."""

from tempfile import gettempdir

import numpy as np
import pyarrow as pa
import pytest
import torch

from triaxis.attention.rope import Rotary
from triaxis.base.errors import UserError
from triaxis.fit.axes import draw_half
from triaxis.fit.device_sums import MatrixSums, logits_on, over_axes, sum_features
from triaxis.fit.schema import SUMS
from triaxis.fit.sums import sum_logits
from triaxis.logits.features import Features
from triaxis.logits.logits import dump_logits, logits, writer

CPU = torch.device("cpu")
LENGTH, SEED = 18, 3


def some_features(sequence: int, layer: int, heads: int = 4, key_heads: int = 2, head_dim: int = 10) -> Features:
    generator = np.random.default_rng([sequence, layer])
    query, key = (generator.standard_normal((n, LENGTH, head_dim)) for n in (heads, key_heads))
    return Features(sequence, layer, query.astype(np.float32), key.astype(np.float32))


# Neighbouring pairs of the first eight dimensions; the last two are not turned.
ROTARY = Rotary(
    0.3,
    1.2,
    np.array([0, 2, 4, 6]),
    np.array([1, 3, 5, 7]),
    np.array([1.0, -0.2, 0.01, 1e-4]),
    np.array([8, 9]),
)
NOPE = Rotary(0.3, 1.0, *(np.array([], dtype=np.int64),) * 2, np.array([]), np.arange(10))


@pytest.mark.parametrize("rotary", [ROTARY, NOPE], ids=["partial", "nope"])
def test_the_devices_logits_are_those_that_would_be_written(rotary):
    features = some_features(0, 0)
    expected = logits(features.query, features.key, rotary)
    found = logits_on(CPU, features, rotary)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=2e-7 * np.abs(expected).max())


@pytest.mark.parametrize("length", [1, 2, 7])
def test_cells_are_summed_over_each_distance_key_and_query(length):
    cells = torch.arange(2 * length**2, dtype=torch.float64).reshape(2, length, length).tril()
    distance = [[sum(m[d + j, j] for j in range(length - d)) for d in range(length)] for m in cells.numpy()]
    expected = np.stack([distance, cells.sum(1), cells.sum(2)], axis=1)
    np.testing.assert_array_equal(over_axes(cells), expected)


@pytest.mark.parametrize("heads", [None, [1, 3]])
def test_the_rows_are_those_that_duckdb_sums_from_the_written_logits(tmp_path, heads):
    features = [some_features(sequence, layer) for sequence in (0, 5) for layer in (1, 2)]
    rotaries = {1: ROTARY, 2: NOPE}
    with writer(tmp_path / "logits.parquet", {}) as out:
        for table in dump_logits(features, rotaries, heads):
            out.write_table(table, row_group_size=len(table))
    half = draw_half(LENGTH, SEED)
    files = [tmp_path / "logits.parquet"]
    written = pa.concat_tables(sum_logits(files, half, threads=1, memory_mb=256, spill=gettempdir()))
    unwritten = pa.concat_tables(sum_features(features, rotaries, heads, MatrixSums(LENGTH, SEED, CPU), CPU))
    for name in SUMS.names:
        own, other = unwritten[name], written.cast(SUMS)[name]
        if pa.types.is_floating(own.type):
            np.testing.assert_allclose(own.to_numpy(), other.to_numpy(), rtol=1e-5, atol=1e-4)
        else:
            assert own.combine_chunks() == other.combine_chunks(), name


def test_what_is_above_the_diagonal_does_not_count():
    matrices = torch.randn(2, LENGTH, LENGTH, generator=torch.Generator().manual_seed(0))
    masked = matrices.masked_fill(torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1), float("-inf"))
    sums = MatrixSums(LENGTH, SEED, CPU)
    assert sums.rows(0, 0, [0, 1], masked) == sums.rows(0, 0, [0, 1], matrices)


def test_a_head_out_of_range_is_named():
    with pytest.raises(UserError, match=r"logits.heads \[4\] are out of range: the model has heads 0 to 3"):
        list(sum_features([some_features(0, 1)], {1: ROTARY}, [0, 4], MatrixSums(LENGTH, SEED, CPU), CPU))
