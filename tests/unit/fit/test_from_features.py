"""Sums straight from features against DuckDB's over the logits written from them, as rows and as fits."""

from tempfile import gettempdir

import numpy as np
import pyarrow as pa
import pytest
import torch

from triaxis.attention.rope import Rotary
from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.fit import from_features
from triaxis.fit.axes import designs, fit_axes, fix_gauge
from triaxis.fit.combinations import COMBINATIONS
from triaxis.fit.from_features import sum_features
from triaxis.fit.groups import draw_groups
from triaxis.fit.schema import SUMS
from triaxis.fit.summed import Summed, in_batches, require_finite
from triaxis.fit.sums import sum_logits
from triaxis.fit.sums_file import read_sums
from triaxis.logits.features import Features
from triaxis.logits.logits import dump_logits, writer

CPU = torch.device("cpu")
LENGTH, PREFIX, SEED = 40, 17, 3
GROUPS = {length: draw_groups(length, SEED) for length in (LENGTH, PREFIX)}
# Neighbouring pairs of the first eight dimensions; the last two are not turned.
PARTIAL = Rotary(0.3, 1.2, np.arange(0, 8, 2), np.arange(1, 8, 2), np.array([1.0, -0.2, 0.01, 1e-4]), np.array([8, 9]))
NOPE = Rotary(0.3, 1.0, *(np.array([], dtype=np.int64),) * 2, np.array([]), np.arange(10))
ROTARIES = {1: PARTIAL, 2: NOPE}


def some_features(sequence: int, layer: int, heads: int = 4, key_heads: int = 2) -> Features:
    generator = np.random.default_rng([sequence, layer])
    query, key = (generator.standard_normal((n, LENGTH, 10)) + 0.5 for n in (heads, key_heads))
    return Features(sequence, layer, query.astype(np.float32), key.astype(np.float32))


FEATURES = [some_features(sequence, layer) for sequence in (0, 5) for layer in (1, 2)]


def from_logits(folder, heads: list[int] | None, length: int) -> Summed:
    """The sums of the first `length` tokens by way of files of logits/ and sums/."""
    with writer(folder / "logits.parquet", {}) as out:
        for table in dump_logits(FEATURES, ROTARIES, heads):
            out.write_table(table, row_group_size=len(table))
    rows = sum_logits([folder / "logits.parquet"], GROUPS[length], threads=1, memory_mb=256, spill=gettempdir())
    parquet.write_parquet(folder / "sums.parquet", rows, SUMS, {})
    (found,) = read_sums(folder / "sums.parquet", *designs(length, SEED))
    return found


@pytest.mark.parametrize("heads", [None, [1, 3], [2]])
@pytest.mark.parametrize("length", GROUPS)
def test_both_ways_agree(tmp_path, heads, length):
    """Features and logits are float32, which is all that the ways differ by."""
    written = from_logits(tmp_path, heads, length)
    (found,) = (
        part for part in in_batches(sum_features(FEATURES, ROTARIES, heads, GROUPS, CPU)) if part.length == length
    )
    assert found.matrices == written.matrices
    whole, seen = designs(length, SEED)
    for axes in COMBINATIONS:
        one, other = (fit_axes(own.whole, own.heldout, whole, seen, axes) for own in (found, written))
        for name in ("r", "r2", "adjusted_r2", "heldout_r"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-6)
        components = [fix_gauge(own.coefficients, whole.counts) for own in (one, other)]
        np.testing.assert_allclose(*components, rtol=0, atol=1e-6 * components[0].abs().max())


def test_blocks_of_heads_change_nothing(monkeypatch):
    expected = list(sum_features(FEATURES, ROTARIES, None, GROUPS, CPU))
    monkeypatch.setattr(from_features, "BLOCK", 1)  # one key head at a time
    for one, other in zip(sum_features(FEATURES, ROTARIES, None, GROUPS, CPU), expected, strict=True):
        assert one.matrices == other.matrices
        np.testing.assert_allclose(one.whole.totals, other.whole.totals, rtol=1e-12, atol=1e-10)
        np.testing.assert_allclose(one.heldout.squares, other.heldout.squares, rtol=1e-12)


def test_batches_hold_all_matrices_in_order_by_length():
    parts = list(sum_features(FEATURES, ROTARIES, None, GROUPS, CPU))
    batches = list(in_batches(parts, levels=2 * 4 * LENGTH))
    # Two layers of whole sequences make a batch; those of the prefix come at the end.
    assert [(batch.length, len(batch.matrices)) for batch in batches] == [(LENGTH, 8), (LENGTH, 8), (PREFIX, 16)]
    for length in GROUPS:
        own, joined = ([part for part in some if part.length == length] for some in (parts, batches))
        assert pa.concat_tables([part.matrices for part in own]) == pa.concat_tables([x.matrices for x in joined])
        np.testing.assert_array_equal(
            torch.cat([part.whole.totals for part in own]), torch.cat([part.whole.totals for part in joined])
        )


def test_a_head_out_of_range_is_named():
    with pytest.raises(UserError, match=r"logits.heads \[4\] are out of range: the model has heads 0 to 3"):
        list(sum_features(FEATURES, ROTARIES, [0, 4], GROUPS, CPU))


def test_features_that_are_not_finite_are_named():
    features = some_features(3, 1)
    features.query[2, 7] = np.nan
    (part,) = in_batches(sum_features([features], ROTARIES, None, {LENGTH: GROUPS[LENGTH]}, CPU))
    with pytest.raises(
        UserError, match=r"f.parquet: the logits of {'sequence': 3, 'layer': 1, 'head': 2} are not all fini"
    ):
        require_finite(part, "f.parquet")
