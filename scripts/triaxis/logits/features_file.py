"""The rows of features/: queries and keys before rotation, a row group for each (sequence, layer)."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.base.progress import progress
from triaxis.logits.features import Features
from triaxis.logits.schema import features_schema

INDEX = ["sequence", "layer", "kind", "head", "position"]


@lru_cache(maxsize=1)
def _index(heads: int, key_heads: int, length: int) -> list[pa.Array]:
    """The columns kind, head and position, which are the same for each (sequence, layer) of a model."""
    kinds = pa.array(["query", "key"]).take(np.repeat([0, 1], [heads * length, key_heads * length]))
    head = np.concatenate([np.repeat(np.arange(count, dtype=np.int16), length) for count in (heads, key_heads)])
    position = np.tile(np.arange(length, dtype=np.int32), heads + key_heads)
    return [kinds, pa.array(head), pa.array(position)]


def to_table(features: Features) -> pa.Table:
    """The rows of one (sequence, layer): queries then keys, sorted by head and position."""
    heads, length, head_dim = features.query.shape
    vectors = np.empty((heads + len(features.key), length, head_dim), np.float32)
    vectors[:heads], vectors[heads:] = features.query, features.key
    rows, schema = len(vectors) * length, features_schema(head_dim)
    columns = [
        pa.array(np.full(rows, features.sequence, dtype=np.int32)),
        pa.array(np.full(rows, features.layer, dtype=np.int16)),
        *_index(heads, len(features.key), length),
        pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=schema.field("vector").type),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


@contextmanager
def writer(path: str | Path, head_dim: int, metadata: dict[str, str]) -> Iterator[pq.ParquetWriter]:
    """A writer of features/. Uncompressed: zstd takes a quarter of the forward pass's time on a CPU to save 15 %."""
    with parquet.parquet_writer(
        path,
        features_schema(head_dim),
        metadata,
        compression="NONE",
        use_dictionary=INDEX,
        # The least and greatest of a vector's dimension tell nothing and cost a pass over all of them.
        write_statistics=INDEX,
    ) as out:
        yield out


def read_features(path: str | Path, layers: list[int] | None = None, first_alone: bool = False) -> Iterator[Features]:
    """The features of a file, one (sequence, layer) at a time, as stored; only `layers` if given, and only those of
    the first sequence if `first_alone`.

    Raises UserError if the file is damaged or lacks one of the layers.
    """
    with parquet.open_parquet(path) as file:
        sequences, held = _row_groups(file, "sequence"), _row_groups(file, "layer")
        if missing := sorted(set(layers or []) - set(held)):
            raise UserError(f"{path} lacks layers {missing}: add them to features.layers, or leave them out here")
        chosen = [
            group
            for group, (sequence, layer) in enumerate(zip(sequences, held, strict=True))
            if (layers is None or layer in layers) and not (first_alone and sequence != sequences[0])
        ]
        # Whoever reads them works on each before it takes the next: this is how far that job is.
        for group in progress(chosen, "layers", "layer"):
            with parquet.reading(path):
                table = file.read_row_group(group)
            yield _from_table(table)


def _row_groups(file: pq.ParquetFile, column: str) -> list[int]:
    """The value of a column that is the same throughout each row group."""
    index = file.schema_arrow.get_field_index(column)
    return [int(file.metadata.row_group(group).column(index).statistics.min) for group in range(file.num_row_groups)]


def _from_table(table: pa.Table) -> Features:
    """One row group -> its features."""
    length = int(table["position"][-1].as_py()) + 1
    vector = table["vector"].combine_chunks()
    vectors = vector.flatten().to_numpy().reshape(-1, length, vector.type.list_size)
    queries = sum(kind == "query" for kind in table["kind"].to_pylist()) // length
    return Features(table["sequence"][0].as_py(), table["layer"][0].as_py(), vectors[:queries], vectors[queries:])
