"""From documents to token sequences: which windows of which documents, the same for any shard size."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from triaxis import tables
from triaxis.faults import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prefix_tokens(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The special tokens that this tokenizer puts before any text (a BOS, or nothing)."""
    plain = tokenizer("a", add_special_tokens=False).input_ids
    full = tokenizer("a").input_ids
    start = next(i for i in range(len(full)) if full[i : i + len(plain)] == plain)
    return full[:start]


def tokenize(documents: pa.Table, tokenizer: "PreTrainedTokenizerBase", rows: int = 1024) -> Iterator[pa.Table]:
    """Documents -> their tokens, without special tokens, `rows` documents at a time."""
    for batch in documents.select(["document", "text"]).to_batches(max_chunksize=rows):
        encoded = tokenizer(batch["text"].to_pylist(), add_special_tokens=False, verbose=False).input_ids
        yield pa.Table.from_arrays(
            [batch["document"], pa.array([len(tokens) for tokens in encoded], pa.int32()), pa.array(encoded)],
            names=tables.TOKENS.names,
        )


def plan_windows(
    lengths: NDArray[np.integer], window: int, per_document: int, count: int, seed: int
) -> list[tuple[int, int]]:
    """The first `count` sequences as (document, offset): seeded, and a prefix of the plan for any larger count.

    lengths: (documents,) tokens. Documents are visited in one seeded order, again and again, up to `per_document`
    times; a document's windows of `window` tokens do not overlap. Raises UserError if no document is long enough
    or the windows are too few.
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
            f"sequences.count {count} is too many: the corpus holds {int(usable.sum())} windows of {window} tokens at "
            f"{per_document} a document and {int(available.sum())} in all; lower it or raise sequences.per_document"
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


def sample_sequences(
    tokens: pa.Table, prefix: list[int], length: int, per_document: int, numbers: range, seed: int
) -> pa.Table:
    """The rows of sequences/ called `numbers`: `prefix` and then a window of a document, `length` tokens in all.

    tokens: the rows of tokens/. The offset is that of the window in its document's tokens. Raises UserError as
    `plan_windows` does.
    """
    window = length - len(prefix)
    plan = plan_windows(tokens["length"].to_numpy(), window, per_document, numbers.stop, seed)[numbers.start :]
    documents, offsets = zip(*plan, strict=True)
    texts = [
        prefix + tokens["tokens"][document].values[offset : offset + window].to_pylist()
        for document, offset in zip(documents, offsets, strict=True)
    ]
    return pa.table(
        [list(numbers), tokens["document"].take(pa.array(documents)), offsets, [length] * len(plan), texts],
        names=tables.SEQUENCES.names,
    )


def read_sequences(path: str | Path) -> tuple[list[int], NDArray[np.int32]]:
    """A file of sequences/ -> their numbers, and their tokens (sequences, length)."""
    table = tables.read_parquet(path)
    return table["sequence"].to_pylist(), np.array(table["tokens"].to_pylist(), dtype=np.int32)


def sample_beyond(tokens: pa.Table, prefix: list[int], length: int, taken: int, count: int, seed: int) -> pa.Table:
    """The `count` sequences that follow the first `taken` ones of the plan: new documents first, then, if these run
    out, other windows of those already read. No window is read twice.

    Arguments as for `sample_sequences`. Raises UserError if the corpus holds too few windows.
    """
    windows = tokens["length"].to_numpy() // (length - len(prefix))
    if count > windows.sum() - taken:
        raise UserError(
            f"surgery.calibration {count} is too many: the corpus holds {int(windows.sum())} sequences of {length} "
            f"tokens, of which {taken} are those of the first shard; lower it, or sequences.length"
        )
    return sample_sequences(tokens, prefix, length, int(windows.max()), range(taken, taken + count), seed)


def join_documents(tokens: pa.Table, prefix: list[int], length: int, count: int, seed: int) -> pa.Table:
    """The rows of length/sequences/: `count` sequences of `length` tokens from documents put end to end in a seeded
    order, a row a piece of a document; `prefix`, before each sequence, is a piece of no document.

    first: the piece's first position in its sequence, offset: in its document. Sequences follow one another, so none
    reads a token twice. Raises UserError if the corpus is too short.
    """
    lengths = tokens["length"].to_numpy()
    text = length - len(prefix)
    if count * text > lengths.sum():
        raise UserError(
            f"length.lengths {length} is too long: {count} sequences need {count * text} tokens of text and the corpus "
            f"has {int(lengths.sum())}; lower it or length.sequences, or give more text"
        )
    order = np.random.default_rng(seed).permutation(len(lengths))
    order = order[lengths[order] > 0]
    ends = np.cumsum(lengths[order])
    rows: list[dict] = []
    for sequence in range(count):
        if prefix:
            rows.append({"sequence": sequence, "first": 0, "length": len(prefix), "tokens": prefix})
        start, stop = sequence * text, (sequence + 1) * text
        while start < stop:
            place = int(np.searchsorted(ends, start, side="right"))
            offset = start - int(ends[place] - lengths[order[place]])
            size = min(stop - start, int(ends[place]) - start)
            rows.append(
                {
                    "sequence": sequence,
                    "document": tokens["document"][int(order[place])].as_py(),
                    "first": length - (stop - start),
                    "offset": offset,
                    "length": size,
                    "tokens": tokens["tokens"][int(order[place])].values[offset : offset + size].to_pylist(),
                }
            )
            start += size
    return pa.Table.from_pylist(rows, schema=tables.LENGTH_SEQUENCES)
