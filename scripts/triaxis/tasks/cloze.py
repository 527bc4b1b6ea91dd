"""Last-word cloze: real sentences of the corpus, of which a reader has to give the last word.

After LAMBADA (Paperno et al. 2016, arXiv 1606.06031), without its filtering by human readers.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from triaxis.base.errors import UserError
from triaxis.tasks.items import Item, following
from triaxis.text.offsets import encode
from triaxis.tolerance.displacement import STAYS, word_units

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A sentence's last word: three small letters or more (no name, title or initial), after a word and a space, before
# the end of the sentence.
LAST_WORD = re.compile(r"(?<=\w )[^\W\d_]{3,}(?=[.!?](?:\s|$))")
SENTENCE_START = re.compile(r"[.!?]['’\"”)\]]*\s|\n")
WORDS = 5  # that a sentence has before its last one, at the least
REACH = 1000  # characters in which the start of a sentence is looked for
CHARACTERS = 12  # a token, at the most, on the average of a text


def last_words(text: str) -> Iterator[tuple[int, str]]:
    """(start, word) of the last word of each sentence in `text` that has at least WORDS words before it."""
    for match in LAST_WORD.finditer(text):
        if not match.group().islower():
            continue
        starts = [found.end() for found in SENTENCE_START.finditer(text, max(0, match.start() - REACH), match.start())]
        if len(text[starts[-1] if starts else 0 : match.start()].split()) >= WORDS:
            yield match.start(), match.group()


def _choose(texts: Sequence[str], seed: int) -> Iterator[tuple[str, int, str]]:
    """(text, start, word), the texts in one seeded order, again and again, each time another of its sentences."""
    order = np.random.default_rng(seed).permutation(len(texts)).tolist()
    visit = 0
    while order:
        left = []
        for number in order:
            places = list(last_words(texts[number]))
            if visit < len(places):
                left.append(number)
                turn = np.random.default_rng([seed, number]).permutation(len(places))[visit]
                yield texts[number], *places[turn]
        order, visit = left, visit + 1


def cloze_items(
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    *,
    context: int,
    count: int,
    candidates: int,
    seed: int,
    prefix: Sequence[int] = (),
) -> list[Item]:
    """`count` items: `context` tokens of a text up to the last word of a sentence, and that word among `candidates`.

    The wrong candidates are last words of other sentences. prefix: the special tokens that a text starts with, a part
    of the context that stays. Raises UserError if the corpus holds too few sentences.
    """
    available = context - len(prefix)
    items: list[tuple[Item, str, str]] = []
    pool: dict[str, None] = {}  # a set that keeps its order
    for text, start, word in _choose(texts, seed):
        pool.setdefault(word)
        if len(items) < count:
            before = text[max(0, start - CHARACTERS * available) : start].rstrip()
            tokens, offsets = encode(tokenizer, before)
            # A tokenizer that joins the text with the word would split it: such a sentence is passed over.
            if len(tokens) >= available and following(tokenizer, before, f" {word}") is not None:
                words = [STAYS] * len(prefix) + word_units(before, offsets[-available:]).tolist()
                prompt = np.array([*prefix, *tokens[-available:]], np.int32)
                item = Item(prompt, np.array(words, np.int64), range(len(prefix), context), references=[word])
                items.append((item, before, word))
        # Three times as many words as an item needs, so that they are not the same for all.
        if len(items) == count and len(pool) >= 3 * candidates:
            break
    if len(items) < count or len(pool) < candidates:
        raise UserError(
            f"the corpus holds {len(items)} sentences with {available} tokens before their last word, and {len(pool)} "
            f"different last words: tasks.cloze asks for {count}, and tasks.candidates for {candidates}; lower them "
            "or tasks.cloze.context, or give a longer corpus"
        )
    for number, (item, before, word) in enumerate(items):
        # Wrong words that the tokenizer would join with the text are left out: what is offered is whole.
        others = [other for other in pool if other != word]
        chosen = np.random.default_rng([seed, number]).choice(len(others), candidates - 1, replace=False)
        answers = [following(tokenizer, before, f" {other}") for other in [word, *(others[n] for n in chosen)]]
        item.answers.extend(answer for answer in answers if answer is not None)
    return [item for item, _, _ in items]
