"""Which documents a model is trained on, and which it is measured on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from triaxis.base import parquet
from triaxis.base.errors import UserError

# splits/model=NAME/split.parquet: a document of the corpus, for a model that is trained on it
SPLITS = pa.schema(
    [
        ("document", pa.int32()),  # number of the document, from 0
        ("held_out", pa.bool_()),  # whether the model is measured on it; it is trained on the others
    ]
)


def split_documents(documents: Sequence[int], digests: Sequence[str], held_out: int, seed: int) -> pa.Table:
    """The rows of splits/: `held_out` texts, drawn by `seed`, are held out, and all documents that have one of them.

    digests: of the documents' texts. A text that the corpus holds twice is on one side only. The draw ranks texts by
    a hash, so that a document that is added or lost moves at most one other. Raises UserError if nothing is left to
    train on.
    """
    texts = sorted(set(digests), key=lambda digest: hashlib.sha256(f"{seed} {digest}".encode()).hexdigest())
    if held_out >= len(texts):
        raise UserError(
            f"training.heldout is {held_out}, but the corpus has {len(texts)} different documents, of which some must "
            "be left to train on: lower it, or give more documents"
        )
    kept = set(texts[:held_out])
    return pa.table([list(documents), [digest in kept for digest in digests]], schema=SPLITS)


def one_side(documents: pa.Table, split: pa.Table, held_out: bool) -> pa.Table:
    """The rows of documents.parquet on one side of a split."""
    own = split.filter(pc.equal(split["held_out"], held_out))["document"]
    return documents.filter(pc.is_in(documents["document"], own))


def read_measured(documents: str | Path, split: Sequence[str]) -> tuple[pa.Table, dict[str, str]]:
    """The documents that a model is measured on, and the metadata of the file that says which: all of them, or, of a
    model that is trained here, those that its split, the file in `split`, holds out."""
    rows = parquet.read_parquet(documents)
    if not split:
        return rows, parquet.read_metadata(documents)
    (path,) = split
    return one_side(rows, parquet.read_parquet(path), held_out=True), parquet.read_metadata(path)
