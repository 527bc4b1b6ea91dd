"""Which windows are read: seeded, apart, the same for any shard size, and what a corpus too small is told."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triaxis.base.errors import UserError
from triaxis.text.schema import SEQUENCES, TOKENS
from triaxis.text.windows import Prefix, plan_windows, sample_sequences

deterministic = settings(derandomize=True, deadline=None, max_examples=40)
corpora = st.lists(st.integers(0, 60), min_size=1, max_size=12)


def holds(lengths: list[int], window: int, per_document: int) -> int:
    return sum(min(length // window, per_document) for length in lengths)


def message(function, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def some_tokens(lengths: list[int]) -> pa.Table:
    """Rows of tokens/ whose tokens and texts say where they are: 1000 * document number + position."""
    tokens = [[1000 * row + position for position in range(length)] for row, length in enumerate(lengths)]
    texts = [[f"t{token}" for token in own] for own in tokens]
    return pa.table([[10 * row for row in range(len(lengths))], lengths, tokens, texts], schema=TOKENS)


BOS = Prefix([1], ["<s>"])


# The plan


@deterministic
@given(lengths=corpora, window=st.integers(1, 12), per_document=st.integers(1, 4), seed=st.integers(0, 99))
def test_windows_lie_in_their_documents_do_not_overlap_and_respect_per_document(lengths, window, per_document, seed):
    count = holds(lengths, window, per_document)
    if count == 0:
        return
    plan = plan_windows(np.array(lengths), window, per_document, count, seed)
    assert len(plan) == count
    for document in range(len(lengths)):
        offsets = sorted(offset for row, offset in plan if row == document)
        assert len(offsets) == min(lengths[document] // window, per_document)
        assert all(0 <= offset <= lengths[document] - window for offset in offsets)
        assert all(after - before >= window for before, after in pairwise(offsets))


@deterministic
@given(lengths=corpora, per_document=st.integers(1, 4), seed=st.integers(0, 99), data=st.data())
def test_a_plan_is_a_prefix_of_any_larger_one(lengths, per_document, seed, data):
    count = holds(lengths, 5, per_document)
    if count == 0:
        return
    fewer = data.draw(st.integers(1, count))
    large = plan_windows(np.array(lengths), 5, per_document, count, seed)
    assert plan_windows(np.array(lengths), 5, per_document, fewer, seed) == large[:fewer]


def test_every_document_is_visited_before_any_is_visited_again():
    plan = plan_windows(np.array([50, 20, 5, 50, 3]), 5, 3, 10, 0)
    documents = [document for document, _ in plan]
    assert sorted(documents[:4]) == [0, 1, 2, 3]
    assert sorted(documents[4:7]) == sorted(documents[7:]) == [0, 1, 3]


def test_the_plan_follows_its_seed():
    lengths = np.full(30, 100)
    assert plan_windows(lengths, 10, 2, 40, 1) == plan_windows(lengths, 10, 2, 40, 1)
    plans = [plan_windows(lengths, 10, 2, 40, seed) for seed in range(3)]
    assert len({tuple(document for document, _ in plan) for plan in plans}) == 3
    assert len({tuple(sorted(plan)) for plan in plans}) == 3


def test_windows_may_start_anywhere():
    offsets = {plan_windows(np.array([19]), 10, 1, 1, seed)[0][1] for seed in range(200)}
    assert offsets == set(range(10))


def test_documents_of_one_length_are_read_at_different_places():
    offsets = [offset for _, offset in plan_windows(np.full(50, 100), 7, 1, 50, 0)]
    assert len(set(offsets)) > 25


@pytest.mark.parametrize(("lengths", "longest"), [([3, 9, 7], 9), ([], 0), ([0], 0)])
def test_no_document_long_enough_says_how_long_the_longest_is(lengths, longest):
    said = message(plan_windows, np.array(lengths, dtype=np.int64), 10, 1, 1, 0)
    assert "no document is long enough for sequences.length: 10 tokens" in said
    assert f"the longest of {len(lengths)} documents has {longest};" in said


def test_too_many_sequences_says_how_many_there_are():
    said = message(plan_windows, np.array([25, 10, 3]), 5, 2, 5, 0)
    assert "sequences.count is too many: the corpus holds 4 windows of 5 tokens at 2 a document and 7 in all" in said
    assert len(plan_windows(np.array([25, 10, 3]), 5, 2, 4, 0)) == 4


# The sequences


@pytest.mark.parametrize("prefix", [Prefix([], []), Prefix([7, 8], ["<x>", "<s>"])])
def test_a_sequence_is_the_prefix_and_its_window(prefix):
    length = 6
    table = sample_sequences(some_tokens([30, 20, 40]), prefix, length, 2, range(6), 0)
    assert table.cast(SEQUENCES)["sequence"].to_pylist() == list(range(6))
    for row in table.to_pylist():
        assert row["length"] == length
        start = 1000 * (row["document"] // 10) + row["offset"]
        own = list(range(start, start + length - len(prefix.tokens)))
        assert row["tokens"] == prefix.tokens + own
        assert row["texts"] == prefix.names + [f"t{token}" for token in own]
    starts = [(row["document"], row["offset"]) for row in table.to_pylist()]
    assert len(set(starts)) == 6


@pytest.mark.parametrize("shard", [1, 2, 4, 7])
def test_shards_of_any_size_hold_the_same_sequences(shard):
    tokens, count = some_tokens([30, 20, 40, 4]), 7
    together = sample_sequences(tokens, BOS, 6, 3, range(count), 5)
    apart = [
        sample_sequences(tokens, BOS, 6, 3, range(first, min(first + shard, count)), 5)
        for first in range(0, count, shard)
    ]
    assert pa.concat_tables(apart).equals(together)


def test_the_prefix_is_that_of_the_metadata_of_tokens():
    assert Prefix.of({"prefix": "[2, 0]", "prefix_names": '["<x>", "<s>"]'}) == Prefix([2, 0], ["<x>", "<s>"])


def test_a_prefix_counts_towards_the_length():
    """A document of 5 tokens is long enough for sequences of 6 with a BOS, and not for those of 7."""
    tokens = some_tokens([5])
    assert sample_sequences(tokens, BOS, 6, 1, range(1), 0)["tokens"].to_pylist() == [[1, 0, 1, 2, 3, 4]]
    assert "6 tokens of text are needed, the longest of 1 documents has 5" in message(
        sample_sequences, tokens, BOS, 7, 1, range(1), 0
    )
