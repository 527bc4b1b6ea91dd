"""Question answering in the format of LongBench (Bai et al. 2024, arXiv 2308.14508): its files, prompts and F1."""

import json
import re
import string
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from triaxis.base.errors import UserError
from triaxis.tasks.items import Item, whole_words
from triaxis.text.offsets import encode
from triaxis.tolerance.displacement import STAYS, word_units

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FIELDS = {"input": str, "context": str, "answers": list}


def read_questions(file: Path, dataset: str) -> list[dict[str, Any]]:
    """The questions of a .jsonl file, or of data/`dataset`.jsonl in a .zip of such files.

    Raises UserError for another suffix, a member that is not there, a line that is not JSON or lacks a field.
    """
    return [_checked(file, number, line) for number, line in enumerate(_lines(file, dataset), 1) if line.strip()]


def _lines(file: Path, dataset: str) -> Iterator[str]:
    if file.suffix == ".jsonl":
        yield from file.read_text().splitlines()
    elif file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            members = [name for name in archive.namelist() if name.split("/")[-1] == f"{dataset}.jsonl"]
            if not members:
                raise UserError(f"{file} holds no {dataset}.jsonl: correct tasks.longbench.dataset")
            yield from archive.read(members[0]).decode().splitlines()
    else:
        raise UserError(f"{file} is neither .jsonl nor .zip: tasks.longbench.source names a file of one of these")


def _checked(file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        question = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{file}, line {number} is not JSON ({error}): mend it") from None
    for name, kind in FIELDS.items():
        if not isinstance(question, dict) or not isinstance(question.get(name), kind):
            raise UserError(
                f"{file}, line {number} has no field '{name}' that is a {kind.__name__}: LongBench's format has "
                "input, context (texts) and answers (a list of texts)"
            )
    return question


def question_items(
    tokenizer: "PreTrainedTokenizerBase",
    questions: Sequence[dict[str, Any]],
    *,
    template: str,
    length: int,
    count: int,
    prefix: Sequence[int] = (),
) -> list[Item]:
    """The first `count` questions as prompts of at most `length` tokens; what is too long loses its middle.

    template: with {context} and {input}. Only words of the context may be perturbed. Raises UserError if there are
    fewer questions.
    """
    if len(questions) < count:
        raise UserError(
            f"tasks.longbench.items {count} is too many: its file holds {len(questions)} questions; lower it"
        )
    return [_question(tokenizer, question, template, length, prefix) for question in questions[:count]]


def _question(
    tokenizer: "PreTrainedTokenizerBase", question: dict[str, Any], template: str, length: int, prefix: Sequence[int]
) -> Item:
    head, tail = (part.replace("{input}", question["input"]) for part in template.split("{context}"))
    text = head + question["context"] + tail
    tokens, offsets = encode(tokenizer, text)
    first, last = len(head), len(head) + len(question["context"])
    inside = (first <= offsets[:, 0]) & (offsets[:, 1] <= last)
    words = word_units(text, offsets)
    words = np.where(inside & ~np.isin(words, words[~inside]), words, STAYS)
    places, available = np.arange(len(tokens)), length - len(prefix)
    # As LongBench does, so that instructions and question stay; it then decodes and encodes again, which we do not.
    half = available // 2
    kept = [places] if len(tokens) <= available else [places[:half], places[-half:]]
    runs = whole_words(words, kept)
    chosen = np.concatenate(kept)
    context = len(prefix) + np.flatnonzero(inside[chosen])
    return Item(
        np.array([*prefix, *np.array(tokens)[chosen]], np.int32),
        np.concatenate([np.full(len(prefix), STAYS), *runs]),
        range(int(context[0]), int(context[-1]) + 1) if len(context) else range(0),
        references=question["answers"],
    )


def normalise(text: str) -> list[str]:
    """The words of `text` without case, punctuation and articles (Rajpurkar et al. 2016, SQuAD)."""
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def f1(prediction: str, references: Sequence[str]) -> float:
    """The largest F1 of the words of `prediction`, by `normalise`, against those of a reference; 0 if none agrees."""
    return max((_f1(normalise(prediction), normalise(reference)) for reference in references), default=0.0)


def _f1(prediction: list[str], reference: list[str]) -> float:
    shared = (Counter(prediction) & Counter(reference)).total()
    return 2 * shared / (len(prediction) + len(reference)) if shared else 0.0
