"""DuckDB's sums against numpy's, and their bits."""

from tempfile import gettempdir

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from triaxis.base.errors import UserError
from triaxis.fit.groups import draw_groups
from triaxis.fit.schema import SUMS
from triaxis.fit.sums import sum_logits
from triaxis.logits.schema import LOGITS

LENGTH = 16
SHAPE = (2, 3, 2)  # sequences, layers, heads
GROUPS = draw_groups(LENGTH, 0)


def some_matrices(length: int = LENGTH, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    sizes = 10 ** generator.uniform(-3, 3, (*SHAPE, 1, 1))
    return (sizes * generator.standard_normal((*SHAPE, length, length))).astype(np.float32)


def summed(files, groups=GROUPS, threads=2) -> pa.Table:
    batches = list(sum_logits(files, groups, threads=threads, memory_mb=512, spill=gettempdir()))
    return pa.concat_tables(batches).cast(SUMS)


# The sums


@pytest.mark.parametrize("length", [LENGTH, 7])
def test_the_sums_are_numpys(tmp_path, write_logits, length):
    """Of all tokens, and of the first seven."""
    matrices, groups = some_matrices(), draw_groups(length, 0)
    query, key = np.tril_indices(length)
    heldout = groups.hold_out(query, key)
    levels = {"distance": query - key, "query": query, "key": key, "all": np.zeros_like(query)}
    rows = iter(summed([write_logits(tmp_path / "logits.parquet", matrices)], groups).to_pylist())
    for place in np.ndindex(*SHAPE):
        cells = matrices[place][query, key].astype(np.float64)
        for axis in sorted(levels):
            for index in range(1 if axis == "all" else length):
                own = levels[axis] == index
                row = next(rows)
                assert (row["sequence"], row["layer"], row["head"], row["prefix"]) == (*place, length)
                assert (row["axis"], row["index"]) == (axis, None if axis == "all" else index)
                for prefix, chosen in (("", own), ("heldout_", own & heldout)):
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
        "prefix": LENGTH,
        "axis": "all",
        "index": None,
        "count": 1,
        "total": 1.5,
        "squares": 2.25,
        "heldout_count": 0,
        "heldout_total": 0,
        "heldout_squares": 0,
    }


def test_the_bits_do_not_depend_on_threads_or_on_the_run(tmp_path, write_logits):
    length = 96
    files = [write_logits(tmp_path / f"{first}.parquet", some_matrices(length, first), first) for first in (0, 2)]
    groups = draw_groups(length, 0)
    first, *others = (summed(files, groups, threads) for threads in (1, 2, 2, 2))
    assert all(first.equals(other) for other in others)


def test_the_sums_over_all_cells_are_the_queries_added_up_in_order(tmp_path, write_logits):
    """To the bit, so that no schedule of threads can change them."""
    length = 96
    file = write_logits(tmp_path / "logits.parquet", some_matrices(length))
    table = summed([file], draw_groups(length, 0))
    overall, queries = (table.filter(pc.equal(table["axis"], axis)) for axis in ("all", "query"))
    for name in ("total", "squares", "heldout_total", "heldout_squares"):
        rows = queries[name].to_numpy().reshape(len(overall), length)
        np.testing.assert_array_equal(overall[name], np.cumsum(rows, axis=1)[:, -1])


def test_several_files_are_summed_as_one(tmp_path, write_logits):
    matrices = some_matrices()
    apart = [write_logits(tmp_path / f"{n}.parquet", matrices[[n]], n) for n in range(2)]
    assert summed(apart).equals(summed([write_logits(tmp_path / "both.parquet", matrices)]))


def test_the_sums_come_in_batches(tmp_path, write_logits):
    layers, heads = 6, 512  # 150,528 rows of sums
    path = write_logits(tmp_path / "logits.parquet", np.zeros((1, layers, heads, LENGTH, LENGTH)))
    batches = [len(table) for table in sum_logits([path], GROUPS, threads=2, memory_mb=1024, spill=tmp_path)]
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
