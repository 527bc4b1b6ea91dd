"""What is read and written: layers, checked against their rotations, and the rows of several stages in one pass."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from triaxis.attention.rope import Rotary
from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.logits.features import Features
from triaxis.logits.features_file import read_features

# The least rows of a row group but the last: small ones are slow to read.
GROUP_ROWS = 100_000


def read_layers(path: str | Path, rotaries: Mapping[int, Rotary]) -> Iterator[Features]:
    """The features of a file, one (sequence, layer) at a time, checked against its rope/.

    Raises UserError if a sequence lacks one of the layers of `rotaries` or has another, or a layer has no keys.
    """
    seen: dict[int, set[int]] = {}
    for layer in read_features(path):
        if layer.layer not in rotaries:
            raise UserError(f"{path} has layer {layer.layer}, which its rope/ file lacks: delete both and rerun")
        if not len(layer.key):
            raise UserError(
                f"{path} has no keys in layer {layer.layer} of sequence {layer.sequence}: delete it and rerun"
            )
        seen.setdefault(layer.sequence, set()).add(layer.layer)
        yield layer
    for sequence, layers in seen.items():
        if missing := sorted(set(rotaries) - layers):
            raise UserError(f"{path} lacks layers {missing} of sequence {sequence}: delete it and rerun")


def rows_of(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """Columns -> rows of `schema`; NaN becomes null, and a column that is one value or None fills all rows."""
    count = next(len(column) for column in columns.values() if isinstance(column, np.ndarray))
    arrays = []
    for field in schema:
        column = columns[field.name]
        whole = column if isinstance(column, np.ndarray) else pa.repeat(pa.scalar(column, field.type), count)
        arrays.append(pa.array(whole, from_pandas=True).cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def write_stages(
    paths: Mapping[str, str | Path],
    schemas: Mapping[str, pa.Schema],
    tables: Iterable[Mapping[str, pa.Table]],
    metadata: Mapping[str, str],
) -> None:
    """Write the files of several stages in one pass, each whole or none; each of `tables` has rows of every stage."""
    with ExitStack() as stack:
        writers = {
            # Indices repeat, numbers hardly: dictionaries of these would take longer than all the rest.
            stage: stack.enter_context(
                parquet.parquet_writer(path, schemas[stage], metadata, use_dictionary=_repeated(schemas[stage]))
            )
            for stage, path in paths.items()
        }
        waiting: dict[str, list[pa.Table]] = {stage: [] for stage in paths}
        for made in tables:
            for stage, own in waiting.items():
                own.append(made[stage])
                if sum(map(len, own)) >= GROUP_ROWS:
                    writers[stage].write_table(pa.concat_tables(own).combine_chunks())
                    own.clear()
        for stage, own in waiting.items():
            if own:
                writers[stage].write_table(pa.concat_tables(own).combine_chunks())


def _repeated(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if not pa.types.is_floating(field.type)]
