"""Parquet files, written whole or not at all and read with one-line errors.

Each file's key-value metadata say what it was made from.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from triaxis.base.errors import UserError
from triaxis.base.files import whole
from triaxis.base.names import series_of, step_of

MATRIX = [
    ("sequence", pa.int32()),  # number of the sequence, from 0
    ("layer", pa.int16()),  # layer, from 0
    ("head", pa.int16()),  # query head, from 0
]
# What a file of a model, one below a folder model=NAME, has beside the columns of its stage.
SERIES = [
    ("series", pa.string()),  # the series that the model is a checkpoint of; null for a model of no series
    ("step", pa.int32()),  # training steps that the checkpoint has behind it; null likewise
]


class Writer(pq.ParquetWriter):
    """A ParquetWriter that gives each row the model's `series` and `step`.

    A value that all rows have is one entry of a dictionary and takes next to no room; its statistics would cost more
    time than the column itself.
    """

    def __init__(self, part: Path, schema: pa.Schema, model: str, **options: Any) -> None:
        self.values = series_of(model), step_of(model)
        if isinstance(options.get("use_dictionary"), list):
            options["use_dictionary"] = [*options["use_dictionary"], *(name for name, _ in SERIES)]
        options = {"write_statistics": schema.names} | options
        super().__init__(part, pa.schema([*schema, *SERIES], schema.metadata), **options)

    def write_table(self, table: pa.Table, row_group_size: int | None = None) -> None:
        """Write a table of the stage's own columns."""
        for (name, kind), value in zip(SERIES, self.values, strict=True):
            table = table.append_column(name, pa.repeat(pa.scalar(value, kind), len(table)))
        super().write_table(table, row_group_size)


@contextmanager
def parquet_writer(
    path: str | Path, schema: pa.Schema, metadata: Mapping[str, str], **options: Any
) -> Iterator[pq.ParquetWriter]:
    """A ParquetWriter of one whole file with `metadata` as its key-value pairs; of a model's file, a `Writer`.

    options: as pyarrow.parquet.ParquetWriter takes them; compression is zstd unless they say otherwise.
    """
    options = {"compression": "zstd"} | options
    schema = schema.with_metadata(dict(metadata))
    model = re.search(r"/model=([^/]+)/", Path(path).as_posix())
    made = partial(Writer, model=model[1]) if model else pq.ParquetWriter
    with whole(path) as part, made(part, schema, **options) as writer:
        yield writer


def write_parquet(
    path: str | Path, tables: pa.Table | Iterable[pa.Table], schema: pa.Schema, metadata: Mapping[str, str]
) -> None:
    """Write the columns of `schema` of one table, or of a stream of tables, as one whole Parquet file."""
    with parquet_writer(path, schema, metadata) as writer:
        for table in [tables] if isinstance(tables, pa.Table) else tables:
            writer.write_table(table.select(schema.names).cast(schema))


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
