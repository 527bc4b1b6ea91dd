"""The items of a task: a prompt, the words of it that may be perturbed, and the answers to it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from triaxis.tasks.schema import TASK_ITEMS
from triaxis.tolerance.displacement import STAYS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokens = NDArray[np.int32]
Units = NDArray[np.int64]


@dataclass(frozen=True)
class Item:
    """tokens: (length,), the prompt. words: (length,) the word of each token, or STAYS for those that no perturbation
    moves: instructions, questions, words that are not whole. context: the positions among which words may move.
    answers: the tokens of each candidate as they would follow the prompt, the true one first; none where the model
    generates. references: the true answers as text. depth: of a passkey."""

    tokens: Tokens
    words: Units
    context: range
    answers: list[Tokens] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    depth: float | None = None

    def units(self, unit: str) -> Units:
        """(length,) what moves as a whole, 'word' or 'token', or STAYS."""
        if unit == "word":
            return self.words
        places = np.arange(len(self.tokens))
        return np.where((places >= self.context.start) & (places < self.context.stop), places, STAYS)


def following(tokenizer: "PreTrainedTokenizerBase", before: str, after: str) -> Tokens | None:
    """The tokens of `after` as they follow those of `before`; None if the tokenizer joins the two."""
    start = tokenizer(before, add_special_tokens=False).input_ids
    # Encoded together: alone, a sentencepiece tokenizer would put a space of its own before `after`.
    both = tokenizer(before + after, add_special_tokens=False).input_ids
    return np.array(both[len(start) :], np.int32) if both[: len(start)] == start else None


def whole_words(words: Units, kept: Sequence[NDArray[np.int64]]) -> list[Units]:
    """The words of the tokens `kept`, runs of places in `words`, where a word that is not kept in one piece STAYS."""
    places = np.concatenate(kept)
    pieces = np.split(words[places], np.cumsum([len(run) for run in kept])[:-1])
    total, counts = np.unique(words, return_counts=True)
    of = dict(zip(total.tolist(), counts.tolist(), strict=True))
    result = []
    for piece in pieces:
        unit, inverse, here = np.unique(piece, return_inverse=True, return_counts=True)
        whole = np.array([of[word] == count for word, count in zip(unit.tolist(), here.tolist(), strict=True)], bool)
        result.append(np.where(whole[inverse], piece, STAYS))
    return result


def to_table(items: Iterable[Item]) -> pa.Table:
    """Items as rows of task_items/, numbered from 0."""
    rows = [
        {
            "item": number,
            "depth": item.depth,
            "start": item.context.start,
            "stop": item.context.stop,
            "tokens": item.tokens.tolist(),
            "words": item.words.tolist(),
            "answers": [answer.tolist() for answer in item.answers],
            "references": item.references,
        }
        for number, item in enumerate(items)
    ]
    return pa.Table.from_pylist(rows, schema=TASK_ITEMS)


def from_table(table: pa.Table) -> list[Item]:
    """The items of task_items/, in order."""
    return [
        Item(
            np.array(row["tokens"], np.int32),
            np.array(row["words"], np.int64),
            range(row["start"], row["stop"]),
            [np.array(answer, np.int32) for answer in row["answers"]],
            row["references"],
            row["depth"],
        )
        for row in table.to_pylist()
    ]
