"""Long sequences, each of documents of its own: one document that is long enough, or several end to end."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from triaxis.base import parquet
from triaxis.base.errors import UserError

# length/sequences/model=MODEL/sequences.parquet: a piece of a document in a long sequence
JOINED = pa.schema(
    [
        ("sequence", pa.int32()),  # number of the sequence, from 0
        ("document", pa.int32()),  # number of the document; null: the tokenizer's own leading tokens
        ("first", pa.int32()),  # the piece's first position in the sequence
        ("offset", pa.int32()),  # its first token in the document
        ("length", pa.int32()),  # tokens in it
        ("tokens", pa.list_(pa.int32())),  # token ids
    ]
)


def join_documents(tokens: pa.Table, prefix: list[int], length: int, count: int, seed: int) -> pa.Table:
    """The rows of length/sequences/: `count` sequences of `length` tokens, a row a piece of a document; `prefix`,
    before each sequence, is a piece of no document.

    Documents come in a seeded order, those that fill a sequence alone before the others. Each is in one sequence only,
    so that no two sequences are halves of one text; if it is longer than what is still to fill, a seeded window of it.
    first: the piece's first position in its sequence, offset: in its document. Raises UserError if the corpus is too
    short.
    """
    lengths = tokens["length"].to_numpy()
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(lengths))
    order = order[np.argsort(lengths[order] < length - len(prefix), kind="stable")]
    unused = iter(order[lengths[order] > 0].tolist())
    rows: list[dict] = []
    for sequence in range(count):
        if prefix:
            rows.append({"sequence": sequence, "first": 0, "length": len(prefix), "tokens": prefix})
        first = len(prefix)
        while first < length:
            place = next(unused, None)
            if place is None:
                raise UserError(
                    f"length.lengths {length} is too long: the corpus, of {int(lengths.sum())} tokens, fills "
                    f"{sequence} sequences of {length} tokens with documents of their own, and length.sequences is "
                    f"{count}; lower one of the two, or give more text"
                )
            size = min(int(lengths[place]), length - first)
            offset = int(generator.integers(lengths[place] - size + 1))
            rows.append(
                {
                    "sequence": sequence,
                    "document": tokens["document"][place].as_py(),
                    "first": first,
                    "offset": offset,
                    "length": size,
                    "tokens": tokens["tokens"][place].values[offset : offset + size].to_pylist(),
                }
            )
            first += size
    return pa.Table.from_pylist(rows, schema=JOINED)


def read_joined(path: str | Path) -> NDArray[np.int32]:
    """The token ids (sequences, length) of a file of length/sequences/."""
    pieces = parquet.read_parquet(path)
    numbers, texts = pieces["sequence"].to_numpy(), pieces["tokens"].to_pylist()
    own = [np.concatenate([texts[row] for row in np.flatnonzero(numbers == number)]) for number in np.unique(numbers)]
    return np.array(own, dtype=np.int32)
