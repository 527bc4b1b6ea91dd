"""Passkey retrieval: a number hidden in real text, and a question for it at the end.

The sentences are those of Mohtashami & Jaggi 2023 (arXiv 2305.16300); the text between them is the corpus's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triaxis.base.errors import UserError

TASK = (
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. "
    "I will quiz you about the important information there.\n"
)
NEEDLE = "\nThe pass key is {key}. Remember it. {key} is the pass key.\n"
QUESTION = "\nWhat is the pass key? The pass key is"
DIGITS = 5


@dataclass(frozen=True)
class Passkey:
    """tokens: (length,), the prompt up to the question's last token; answers: each candidate key's tokens, as they
    would follow, the true one first; key: the true one; needle: the positions of the sentence that tells it;
    question: the positions of the question, the prompt's last."""

    tokens: NDArray[np.int32]
    answers: list[NDArray[np.int32]]
    key: str
    needle: range
    question: range


def draw_keys(count: int, seed: int | Sequence[int]) -> list[str]:
    """`count` different numbers of DIGITS digits, none of them starting with 0."""
    lowest = 10 ** (DIGITS - 1)
    return [str(lowest + int(i)) for i in np.random.default_rng(seed).choice(9 * lowest, count, replace=False)]


def passkey_prompt(
    encode: Callable[[str], Sequence[int]],
    filler: NDArray[np.integer],
    length: int,
    depth: float,
    seed: int | Sequence[int],
    *,
    prefix: Sequence[int] = (),
    candidates: int = 10,
) -> Passkey:
    """A prompt of exactly `length` tokens whose needle lies after the share `depth` of its filler, 0 to 1.

    encode: text -> its tokens, without special ones. filler: (tokens,) of real text, of which a run is taken from a
    seeded start on. prefix: the special tokens that a text starts with (`tokens.prefix_tokens`). candidates: how
    many keys `answers` offers. The same seed gives the same keys and the same filler, whatever the depth.
    Raises UserError if `depth` is outside [0, 1], if `length` leaves no tokens for filler, if there is too little of
    it, or if the tokenizer joins the question and its answer.
    """
    if not 0 <= depth <= 1:
        raise UserError(f"passkey depth {depth} is not within 0 and 1: 0 is the start of the text, 1 its end")
    keys = draw_keys(candidates, seed)
    opening = [*prefix, *encode(TASK)]
    needle, question = encode(NEEDLE.format(key=keys[0])), list(encode(QUESTION))
    available = length - len(opening) - len(needle) - len(question)
    if available < 1:
        raise UserError(
            f"a passkey prompt of {length} tokens is too short: its own sentences take {length - available}; lengthen "
            "it"
        )
    if len(filler) < available:
        raise UserError(
            f"the corpus holds {len(filler)} tokens of text, a passkey prompt of {length} tokens needs {available}: "
            "lower its length or give a longer corpus"
        )
    # A generator of its own, so that the filler does not depend on how many keys were drawn.
    generator = np.random.default_rng([*np.atleast_1d(seed), 1])
    start = int(generator.integers(len(filler) - available + 1))
    text = filler[start : start + available]
    before = round(depth * available)
    begin = len(opening) + before
    tokens = np.concatenate([opening, text[:before], needle, text[before:], question]).astype(np.int32)
    return Passkey(
        tokens=tokens,
        answers=[_answer(encode, question, key) for key in keys],
        key=keys[0],
        needle=range(begin, begin + len(needle)),
        question=range(length - len(question), length),
    )


def _answer(encode: Callable[[str], Sequence[int]], question: list[int], key: str) -> NDArray[np.int32]:
    """The tokens of a key as they follow the question."""
    # Encoded together: alone, a sentencepiece tokenizer would put a space of its own before the key.
    both = list(encode(f"{QUESTION} {key}"))
    if both[: len(question)] != question:
        raise UserError(f"this tokenizer joins '{QUESTION.split()[-1]}' and the pass key '{key}': use another model")
    return np.array(both[len(question) :], np.int32)
