"""From documents to tokens, with a model's own tokenizer."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from triaxis.text.schema import TOKENS

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
            names=TOKENS.names,
        )
