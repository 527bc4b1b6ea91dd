"""Documents put end to end into sequences longer than most of them."""

import numpy as np
import pyarrow as pa

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
    return pa.Table.from_pylist(rows, schema=JOINED)
