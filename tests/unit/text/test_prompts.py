"""Prompts of random tokens: ordinary ones alone, each a period before itself, and the same ones again by their seed."""

from itertools import pairwise

import pytest

from triaxis.base.errors import UserError
from triaxis.text.prompts import as_ranges, repeated_prompts
from triaxis.text.schema import SEQUENCES
from triaxis.text.tokens import ordinary_tokens
from unit.text.test_tokens import bases, tokenizer


def prompts(ordinary=((10, 40),), prefix=(1,), period=8, numbers=range(5), seed=0) -> list[list[int]]:
    table = repeated_prompts(ordinary, prefix, period, numbers, seed).cast(SEQUENCES)
    assert table["sequence"].to_pylist() == list(numbers)
    assert table["document"].null_count == table["offset"].null_count == table["texts"].null_count == len(table)
    assert table["length"].to_pylist() == [len(tokens) for tokens in table["tokens"].to_pylist()]
    return table["tokens"].to_pylist()


@pytest.mark.parametrize("prefix", [(), (1,), (1, 2)])
def test_after_the_prefix_each_token_comes_twice_a_period_apart(prefix):
    for tokens in prompts(prefix=prefix):
        assert tokens[: len(prefix)] == list(prefix) and len(tokens) == len(prefix) + 16
        first, second = tokens[len(prefix) : len(prefix) + 8], tokens[len(prefix) + 8 :]
        assert first == second and len(set(first)) == 8 and set(first) <= set(range(10, 40))


def test_prompts_differ_and_more_of_them_leave_the_others():
    found = prompts()
    assert len({tuple(tokens) for tokens in found}) == 5
    assert prompts(numbers=range(2)) == found[:2] and prompts(seed=1) != found


def test_few_tokens_are_drawn_again():
    assert set(prompts([(3, 5)], (), 8)[0]) == {3, 4}


def test_a_tokenizer_of_special_tokens_alone_is_refused():
    with pytest.raises(UserError, match="special tokens only"):
        prompts([])


@pytest.mark.parametrize("numbers", [[], [4], [0, 1, 2], [0, 2, 3, 9]])
def test_ranges_hold_the_numbers(numbers):
    ranges = as_ranges(numbers)
    assert [number for first, end in ranges for number in range(first, end)] == numbers
    assert all(end < after for (_, end), (after, _) in pairwise(ranges))


def test_ordinary_tokens_are_neither_special_nor_unknown_nor_without_a_vector():
    assert ordinary_tokens(bases(), None) == [0, 1, 2, 3]  # 4 is the BOS
    own = tokenizer(("<s>",))
    own.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<x>"})
    assert ordinary_tokens(own, None) == list(range(4, 12))
    assert ordinary_tokens(own, 6) == [4, 5]
