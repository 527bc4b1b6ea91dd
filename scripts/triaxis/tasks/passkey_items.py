"""Passkey retrieval as a task: prompts at chosen depths, and which of their words may be perturbed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triaxis.tasks.items import Item, Tokens, Units, whole_words
from triaxis.text.offsets import encode
from triaxis.text.passkey import NEEDLE, TASK, passkey_prompt
from triaxis.tolerance.displacement import STAYS, word_units

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROMPTS = 50  # so many prompts' worth of text is tokenised, from which each takes a run


@dataclass(frozen=True)
class Filler:
    """tokens: (tokens,) of real text, documents one after another in a seeded order; words: the word of each."""

    tokens: Tokens
    words: Units


def read_filler(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], length: int, seed: int) -> Filler:
    """Enough text for prompts of `length` tokens: PROMPTS times as much, or all that there is."""
    tokens: list[int] = []
    words: list[NDArray[np.int64]] = []
    for number in np.random.default_rng(seed).permutation(len(texts)):
        own, offsets = encode(tokenizer, texts[number])
        units = word_units(texts[number], offsets)
        words.append(np.where(units == STAYS, STAYS, units + len(tokens)))  # so that no two documents share a word
        tokens += own
        if len(tokens) >= PROMPTS * length:
            break
    return Filler(np.array(tokens, np.int32), np.concatenate([np.empty(0, np.int64), *words]))


def passkey_items(
    tokenizer: "PreTrainedTokenizerBase",
    filler: Filler,
    *,
    length: int,
    depths: Sequence[float],
    count: int,
    candidates: int,
    seed: int,
    prefix: Sequence[int] = (),
) -> list[Item]:
    """`count` prompts of `length` tokens at each of `depths`, each with a key and a run of filler of its own.

    The filler's words and the needle's may be perturbed, but not the opening sentences and the question. A key is a
    word, so it is never taken apart. Raises UserError as `passkey_prompt` does.
    """

    def plain(text: str) -> list[int]:
        return encode(tokenizer, text)[0]

    opening = len(prefix) + len(plain(TASK))
    places = -1 - np.arange(len(filler.tokens))  # stand for the filler's tokens until we know which were taken
    items = []
    for number, depth in enumerate(np.repeat(depths, count).tolist()):
        prompt = passkey_prompt(plain, places, length, depth, [seed, number], prefix=prefix, candidates=candidates)
        needle, context = prompt.needle, range(opening, prompt.question.start)
        before, after = slice(context.start, needle.start), slice(needle.stop, context.stop)
        taken = -1 - prompt.tokens.astype(np.int64)  # the filler's places, where they are none below 0
        words = np.full(length, STAYS, np.int64)
        words[before], words[after] = whole_words(filler.words, [taken[before], taken[after]])
        words[needle.start : needle.stop] = _needle_words(tokenizer, prompt.key, len(filler.tokens))
        tokens = np.where(taken >= 0, filler.tokens[taken.clip(0)], prompt.tokens)
        items.append(Item(tokens, words, context, prompt.answers, [prompt.key], depth))
    return items


def _needle_words(tokenizer: "PreTrainedTokenizerBase", key: str, first: int) -> Units:
    """The words of the needle, numbered after those of any filler."""
    text = NEEDLE.format(key=key)
    # A word before it, so that the needle's first is not taken for the rest of one.
    offsets = np.concatenate([[[0, 1]], encode(tokenizer, text)[1] + 1])
    words = word_units("-" + text, offsets)[1:]
    return np.where(words == STAYS, STAYS, 2 * first + words)
