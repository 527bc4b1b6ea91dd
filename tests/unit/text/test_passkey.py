"""Passkey prompts: exact lengths, one needle where it was asked for, answers as they follow the question."""

import numpy as np
import pytest

from triaxis.base.errors import UserError
from triaxis.text.passkey import DIGITS, QUESTION, draw_keys, passkey_prompt

FILLER = np.arange(1000, 3000)  # none of them a character


def encode(text: str) -> list[int]:
    """A tokenizer of characters."""
    return [ord(character) for character in text]


def decode(tokens) -> str:
    return "".join(chr(token) if token < 1000 else "_" for token in tokens)


@pytest.mark.parametrize("length", [300, 301, 900, 2000])
@pytest.mark.parametrize("depth", [0, 0.25, 0.5, 1])
def test_prompt_is_exactly_as_long_as_asked_and_holds_the_needle_once_where_it_should(length, depth):
    prompt = passkey_prompt(encode, FILLER, length, depth, 3, prefix=[7])
    text = decode(prompt.tokens)
    assert prompt.tokens.shape == (length,) and prompt.tokens.dtype == np.int32
    assert prompt.tokens[0] == 7
    sentence = f"\nThe pass key is {prompt.key}. Remember it. {prompt.key} is the pass key.\n"
    assert text.count(sentence) == 1
    assert text.index(sentence) == prompt.needle.start and len(sentence) == len(prompt.needle)
    assert text.count(prompt.key) == 2
    assert text.endswith(QUESTION) and text[prompt.question.start :] == QUESTION
    before, after = text[: prompt.needle.start].count("_"), text[prompt.needle.stop :].count("_")
    assert abs(before - depth * (before + after)) <= 0.5


def test_filler_is_one_run_of_the_corpus_around_the_needle():
    prompt = passkey_prompt(encode, FILLER, 500, 0.4, 0)
    text = prompt.tokens[prompt.tokens >= 1000]
    assert len(text) > 100 and np.array_equal(np.diff(text), np.ones(len(text) - 1))


def test_depth_moves_the_needle_alone_and_seeds_change_both():
    shallow, deep = (passkey_prompt(encode, FILLER, 500, depth, 5) for depth in (0.1, 0.9))
    other = passkey_prompt(encode, FILLER, 500, 0.1, 6)
    assert shallow.key == deep.key and shallow.key != other.key
    assert np.array_equal(*(p.tokens[p.tokens >= 1000] for p in (shallow, deep)))
    assert not np.array_equal(shallow.tokens, other.tokens)
    again = passkey_prompt(encode, FILLER, 500, 0.1, 5)
    assert np.array_equal(shallow.tokens, again.tokens)


def test_seed_may_be_a_run_and_an_item():
    first, second = (passkey_prompt(encode, FILLER, 500, 0.5, [0, item]) for item in (0, 1))
    assert first.key != second.key


def test_answers_are_the_candidates_as_they_follow_the_question_the_true_one_first():
    prompt = passkey_prompt(encode, FILLER, 500, 0.5, 2, candidates=10)
    answers = [decode(answer) for answer in prompt.answers]
    assert answers[0] == f" {prompt.key}" and len(set(answers)) == 10
    # The same keys, however many: the first of them is the true one.
    assert passkey_prompt(encode, FILLER, 500, 0.5, 2, candidates=10).answers[3].tolist() == encode(answers[3])


def test_keys_are_different_numbers_of_five_digits():
    keys = draw_keys(1000, 0)
    assert len(set(keys)) == 1000 and {len(key) for key in keys} == {DIGITS} and all(key[0] != "0" for key in keys)


@pytest.mark.parametrize("depth", [-0.1, 1.01, float("nan")])
def test_depth_outside_0_and_1_is_refused(depth):
    with pytest.raises(UserError, match=f"passkey depth {depth} is not within 0 and 1"):
        passkey_prompt(encode, FILLER, 500, depth, 0)


def test_too_short_a_prompt_and_too_short_a_corpus_are_refused():
    with pytest.raises(UserError, match="prompt of 100 tokens is too short: its own sentences take 245; lengthen it"):
        passkey_prompt(encode, FILLER, 100, 0.5, 0)
    with pytest.raises(UserError, match="the corpus holds 2000 tokens of text, a passkey prompt of 5000 tokens"):
        passkey_prompt(encode, FILLER, 5000, 0.5, 0)


def test_tokenizer_that_joins_question_and_answer_is_refused():
    words: dict[str, int] = {}

    def joining(text: str) -> list[int]:
        return [words.setdefault(word, len(words)) for word in text.replace("is 1", "is1").split(" ")]

    with pytest.raises(UserError, match="this tokenizer joins 'is' and the pass key '1"):
        passkey_prompt(joining, FILLER, 500, 0.5, 0, candidates=100)
