"""Parquet files, written whole or not at all and read with one-line errors.

Each file's key-value metadata say what it was made from.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from triaxis.base.errors import UserError
from triaxis.base.files import whole

MATRIX = [
    ("sequence", pa.int32()),  # number of the sequence, from 0
    ("layer", pa.int16()),  # layer, from 0
    ("head", pa.int16()),  # query head, from 0
]


@contextmanager
def parquet_writer(
    path: str | Path, schema: pa.Schema, metadata: Mapping[str, str], **options: Any
) -> Iterator[pq.ParquetWriter]:
    """A ParquetWriter of one whole file with `metadata` as its key-value pairs.

    options: as pyarrow.parquet.ParquetWriter takes them; compression is zstd unless they say otherwise.
    """
    options = {"compression": "zstd"} | options
    with whole(path) as part, pq.ParquetWriter(part, schema.with_metadata(dict(metadata)), **options) as writer:
        yield writer


def write_parquet(
    path: str | Path, tables: pa.Table | Iterable[pa.Table], schema: pa.Schema, metadata: Mapping[str, str]
) -> None:
    """Write one table, or a stream of tables, as one whole Parquet file."""
    with parquet_writer(path, schema, metadata) as writer:
        for table in [tables] if isinstance(tables, pa.Table) else tables:
            writer.write_table(table.cast(schema))


def batched(tables: Iterable[pa.Table], rows: int = 100_000) -> Iterator[pa.Table]:
    """The same rows in tables of at least `rows` rows, but for the last: small row groups are slow to read."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= rows:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def open_parquet(path: str | Path) -> pq.ParquetFile:
    """Open a Parquet file; raises UserError, with the remedy, if it is missing, truncated or not Parquet."""
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: rerun the rule that makes it") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} is not a whole Parquet file ({error}): delete it and rerun") from None


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Raise UserError, with the remedy, if what the body reads of an open file turns out to be damaged."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it and rerun") from None


def read_parquet(path: str | Path, columns: list[str] | None = None) -> pa.Table:
    """Read a whole Parquet file; raises UserError as `open_parquet` and `reading` do."""
    with open_parquet(path) as file, reading(path):
        return file.read(columns)


def read_metadata(path: str | Path) -> dict[str, str]:
    """The key-value metadata of a Parquet file, without Arrow's own entry."""
    with open_parquet(path) as file:
        pairs = file.schema_arrow.metadata or {}
    return {key.decode(): value.decode() for key, value in pairs.items() if not key.startswith(b"ARROW:")}
