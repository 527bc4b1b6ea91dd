"""From documents to token sequences: which windows of which documents, the same for any shard size."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.text.schema import SEQUENCES


def plan_windows(
    lengths: NDArray[np.integer], window: int, per_document: int, count: int, seed: int
) -> list[tuple[int, int]]:
    """The first `count` sequences as (document, offset): seeded, and a prefix of the plan for any larger count.

    lengths: (documents,) tokens. Documents are visited in one seeded order, again and again, up to `per_document`
    times; a document's windows of `window` tokens do not overlap. Raises UserError if no document is long enough
    or the windows are too few; it states no `count`, which is a shard's end and no number that the user wrote.
    """
    available = lengths // window
    if not available.any():
        raise UserError(
            f"no document is long enough for sequences.length: {window} tokens of text are needed, the longest of "
            f"{len(lengths)} documents has {int(lengths.max(initial=0))}; lower sequences.length"
        )
    usable = np.minimum(available, per_document)
    if count > usable.sum():
        raise UserError(
            f"sequences.count is too many: the corpus holds {int(usable.sum())} windows of {window} tokens at "
            f"{per_document} a document and {int(available.sum())} in all; lower it to {int(usable.sum())}, or raise "
            "sequences.per_document"
        )
    order = np.random.default_rng(seed).permutation(len(lengths))
    windows: list[tuple[int, int]] = []
    visit = 0
    while len(windows) < count:
        windows += [(int(document), visit) for document in order[usable[order] > visit]]
        visit += 1
    return [
        (document, _offset(int(lengths[document]), window, visit, seed, document))
        for document, visit in windows[:count]
    ]


def _offset(length: int, window: int, visit: int, seed: int, document: int) -> int:
    """Where the `visit`-th window of a document starts: its windows tile it from a seeded start, in seeded order."""
    generator = np.random.default_rng([seed, document])
    tiles = length // window
    start = int(generator.integers(length - tiles * window + 1))
    return start + window * int(generator.permutation(tiles)[visit])


@dataclass(frozen=True)
class Prefix:
    """The special tokens that a tokenizer puts before any text, and their names."""

    tokens: list[int]
    names: list[str]

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Self:
        """That of the metadata of tokens/."""
        return cls(json.loads(metadata["prefix"]), json.loads(metadata["prefix_names"]))


def sample_sequences(
    tokens: pa.Table, prefix: Prefix, length: int, per_document: int, numbers: range, seed: int
) -> pa.Table:
    """The rows of sequences/ called `numbers`: `prefix` and then a window of a document, `length` tokens in all.

    tokens: the rows of tokens/. The offset is that of the window in its document's tokens. Raises UserError as
    `plan_windows` does.
    """
    window = length - len(prefix.tokens)
    plan = plan_windows(tokens["length"].to_numpy(), window, per_document, numbers.stop, seed)[numbers.start :]
    documents, offsets = zip(*plan, strict=True)

    def windows(name: str, first: list) -> list[list]:
        return [
            first + tokens[name][document].values[offset : offset + window].to_pylist() for document, offset in plan
        ]

    columns = [list(numbers), tokens["document"].take(pa.array(documents)), offsets, [length] * len(plan)]
    return pa.table([*columns, windows("tokens", prefix.tokens), windows("texts", prefix.names)], names=SEQUENCES.names)


def read_sequences(path: str | Path) -> tuple[list[int], NDArray[np.int32]]:
    """A file of sequences/ -> their numbers, and their tokens (sequences, length)."""
    table = parquet.read_parquet(path)
    return table["sequence"].to_pylist(), np.array(table["tokens"].to_pylist(), dtype=np.int32)


def sample_beyond(tokens: pa.Table, prefix: Prefix, length: int, taken: int, count: int, seed: int) -> pa.Table:
    """The `count` sequences that follow the first `taken` ones of the plan: new documents first, then, if these run
    out, other windows of those already read. No window is read twice.

    Arguments as for `sample_sequences`. Raises UserError if the corpus holds too few windows.
    """
    windows = tokens["length"].to_numpy() // (length - len(prefix.tokens))
    if count > windows.sum() - taken:
        raise UserError(
            f"surgery.calibration and surgery.selection, {count} together, are too many: the corpus holds "
            f"{int(windows.sum())} sequences of {length} tokens, of which {taken} are those of the first shard; lower "
            "them, or sequences.length"
        )
    return sample_sequences(tokens, prefix, length, int(windows.max()), range(taken, taken + count), seed)
