"""The Parquet files of a run: their schemas, in one place, and how they are written and read.

Each file's key-value metadata say what it was made from.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from triaxis.faults import UserError
from triaxis.files import whole

MATRIX = [("sequence", pa.int32()), ("layer", pa.int16()), ("head", pa.int16())]

DOCUMENTS = pa.schema(
    [
        ("document", pa.int32()),
        ("title", pa.string()),
        ("text", pa.large_string()),
        ("characters", pa.int64()),
        ("sha256", pa.string()),
    ]
)
TOKENS = pa.schema([("document", pa.int32()), ("length", pa.int32()), ("tokens", pa.list_(pa.int32()))])
SEQUENCES = pa.schema(
    [
        ("sequence", pa.int32()),
        ("document", pa.int32()),
        ("offset", pa.int32()),
        ("length", pa.int32()),
        ("tokens", pa.list_(pa.int32())),
    ]
)
ROPE = pa.schema(
    [
        ("layer", pa.int16()),
        ("scale", pa.float64()),
        ("amplitude", pa.float64()),
        ("pair", pa.list_(pa.int16())),
        ("real", pa.list_(pa.int16())),
        ("imaginary", pa.list_(pa.int16())),
        ("frequency", pa.list_(pa.float64())),
        ("unrotated", pa.list_(pa.int16())),
        ("check_error", pa.float64()),
    ]
)
LOGITS = pa.schema([*MATRIX, ("query", pa.int32()), ("key", pa.int32()), ("logit", pa.float32())])
SUMS = pa.schema(
    [
        *MATRIX,
        ("axis", pa.string()),
        ("index", pa.int32()),
        ("count", pa.int64()),
        ("total", pa.float64()),
        ("squares", pa.float64()),
        ("half_count", pa.int64()),
        ("half_total", pa.float64()),
        ("half_squares", pa.float64()),
    ]
)
FITS = pa.schema(
    [
        *MATRIX,
        ("axes", pa.string()),
        ("r", pa.float64()),
        ("r2", pa.float64()),
        ("adjusted_r2", pa.float64()),
        ("heldout_r", pa.float64()),
        ("null_r", pa.float64()),
        ("cells", pa.int64()),
        ("parameters", pa.int32()),
    ]
)
COMPONENTS = pa.schema([*MATRIX, ("axis", pa.string()), ("index", pa.int32()), ("value", pa.float64())])
PROBES = pa.schema(
    [
        *MATRIX,
        ("query", pa.int32()),
        ("r_additive", pa.float64()),
        ("interaction", pa.float64()),
        ("r_closed_form", pa.float64()),
        ("bound_mean", pa.float64()),
        ("residual_rms", pa.float64()),
        ("residual_max", pa.float64()),
        ("logit_rms", pa.float64()),
    ]
)
DUMMIES = pa.schema(
    [
        *MATRIX,
        ("distance", pa.int32()),
        ("key_correlation", pa.float64()),
        ("mean", pa.float64()),
        ("component", pa.float64()),
    ]
)
PATTERNS = pa.schema(
    [
        *MATRIX,
        ("first_token", pa.bool_()),
        ("pair", pa.int16()),
        ("frequency", pa.float64()),
        ("turns", pa.float64()),
        ("norm_share", pa.float64()),
        ("key_constancy", pa.float64()),
        ("key_concentration", pa.float64()),
        ("query_concentration", pa.float64()),
        ("f_variance", pa.float64()),
        ("g_variance", pa.float64()),
        ("interaction_variance", pa.float64()),
    ]
)
RELATED = pa.schema(
    [
        *MATRIX,
        ("first_token", pa.bool_()),
        ("slash_score", pa.float64()),
        ("slash_distance", pa.int32()),
        ("query_rank_one", pa.float64()),
        ("key_rank_one", pa.float64()),
        ("query_massive", pa.float64()),
        ("query_massive_dimension", pa.int16()),
        ("key_massive", pa.float64()),
        ("key_massive_dimension", pa.int16()),
        ("offset_pairs", pa.int16()),
        ("offset_share", pa.float64()),
    ]
)

CALIBRATION = pa.schema(
    [
        ("layer", pa.int16()),
        ("head", pa.int16()),
        ("form", pa.string()),
        ("pair", pa.int16()),
        ("key_real", pa.float64()),
        ("key_imaginary", pa.float64()),
        ("turn_real", pa.float64()),
        ("turn_imaginary", pa.float64()),
    ]
)
SURGERY = pa.schema(
    [
        ("sequence", pa.int32()),
        ("variant", pa.string()),
        ("scope", pa.string()),
        ("layer", pa.int16()),
        ("head", pa.int16()),
        ("loss", pa.float64()),
        ("perplexity", pa.float64()),
        ("agreement", pa.float64()),
        ("kl", pa.float64()),
    ]
)
DISPLACEMENTS = pa.schema(
    [
        ("sequence", pa.int32()),
        ("fraction", pa.float64()),
        ("realised", pa.float64()),
        ("position", pa.int32()),
        ("place", pa.int32()),
    ]
)
TOLERANCE = pa.schema(
    [
        ("sequence", pa.int32()),
        ("fraction", pa.float64()),
        ("realised", pa.float64()),
        ("displacement", pa.float64()),
        ("position", pa.int32()),
        ("place", pa.int32()),
        ("loss", pa.float64()),
        ("disturbed_loss", pa.float64()),
        ("agreement", pa.bool_()),
        ("kl", pa.float64()),
    ]
)
COSINES = pa.schema(
    [("sequence", pa.int32()), ("fraction", pa.float64()), ("layer", pa.int16()), ("cosine", pa.float64())]
)
LINKS = pa.schema(
    [
        *MATRIX,
        ("fraction", pa.float64()),
        ("predicted", pa.float64()),
        ("observed", pa.float64()),
        ("correlation", pa.float64()),
    ]
)
TASK_ITEMS = pa.schema(
    [
        ("item", pa.int32()),
        ("depth", pa.float64()),
        ("start", pa.int32()),
        ("stop", pa.int32()),
        ("tokens", pa.list_(pa.int32())),
        ("words", pa.list_(pa.int32())),
        ("answers", pa.list_(pa.list_(pa.int32()))),
        ("references", pa.list_(pa.string())),
    ]
)
TASKS = pa.schema(
    [
        ("item", pa.int32()),
        ("depth", pa.float64()),
        ("way", pa.string()),
        ("fraction", pa.float64()),
        ("realised", pa.float64()),
        ("displacement", pa.float64()),
        ("accuracy", pa.float64()),
        ("chosen", pa.float64()),
        ("log_probability", pa.float64()),
        ("prediction", pa.string()),
    ]
)


def plain_schema(size: int) -> pa.Schema:
    """The schema of plain/: one state of `size` float32 a row."""
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), size)
    return pa.schema([("sequence", pa.int32()), ("layer", pa.int16()), ("position", pa.int32()), ("vector", vector)])


LENGTH_SEQUENCES = pa.schema(
    [
        ("sequence", pa.int32()),
        ("document", pa.int32()),
        ("first", pa.int32()),
        ("offset", pa.int32()),
        ("length", pa.int32()),
        ("tokens", pa.list_(pa.int32())),
    ]
)
RUN = [("method", pa.string()), ("length", pa.int32())]
HEAD = [("layer", pa.int16()), ("head", pa.int16())]
LENGTH_LOSSES = pa.schema(
    [
        *RUN,
        ("sequence", pa.int32()),
        ("first", pa.int32()),
        ("last", pa.int32()),
        ("tokens", pa.int32()),
        ("loss", pa.float64()),
    ]
)
LENGTH_PASSKEYS = pa.schema(
    [
        *RUN,
        ("depth", pa.float64()),
        ("trial", pa.int32()),
        ("needle", pa.int32()),
        ("tokens", pa.int32()),
        ("right", pa.int32()),
        ("correct", pa.bool_()),
        ("loss", pa.float64()),
    ]
)
LENGTH_ATTENTION = pa.schema(
    [
        *RUN,
        *HEAD,
        ("queries", pa.int32()),
        ("keys", pa.float64()),
        ("logit_mean", pa.float64()),
        ("logit_sd", pa.float64()),
        ("entropy", pa.float64()),
    ]
)
LENGTH_COMPONENTS = pa.schema(
    [
        *RUN,
        *HEAD,
        ("distance", pa.int32()),
        ("cells", pa.int32()),
        ("whole", pa.float64()),
        ("inside", pa.float64()),
        ("closed", pa.float64()),
    ]
)
LENGTH_COSTS = pa.schema(
    [*RUN, ("sequences", pa.int32()), ("seconds", pa.float64()), ("memory_mb", pa.float64()), ("device", pa.string())]
)
LENGTH_DISTANCES = pa.schema(
    [
        *RUN,
        *HEAD,
        ("points", pa.int32()),
        ("median", pa.float64()),
        ("q90", pa.float64()),
        ("q99", pa.float64()),
        ("threshold", pa.float64()),
        ("outside", pa.float64()),
        ("energy", pa.float64()),
    ]
)
LENGTH_CLOUDS = pa.schema(
    [
        *RUN,
        *HEAD,
        ("sequence", pa.int32()),
        ("position", pa.int32()),
        ("reference", pa.bool_()),
        ("x", pa.float32()),
        ("y", pa.float32()),
    ]
)


def length_outputs_schema(value_dim: int) -> pa.Schema:
    """The schema of length/outputs/: what one head's attention gave at one position, `value_dim` float32 a row."""
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), value_dim)
    return pa.schema([*RUN, *HEAD, ("sequence", pa.int32()), ("position", pa.int32()), ("vector", vector)])


def features_schema(head_dim: int) -> pa.Schema:
    """The schema of features/: one pre-RoPE vector of `head_dim` float32 a row."""
    return pa.schema(
        [
            ("sequence", pa.int32()),
            ("layer", pa.int16()),
            ("kind", pa.string()),
            ("head", pa.int16()),
            ("position", pa.int32()),
            ("vector", pa.list_(pa.field("element", pa.float32(), nullable=False), head_dim)),
        ]
    )


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


def read_parquet(path: str | Path, columns: list[str] | None = None) -> pa.Table:
    """Read a whole Parquet file; raises UserError as `open_parquet` does."""
    with open_parquet(path) as file:
        try:
            return file.read(columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{path} is damaged ({error}): delete it and rerun") from None


def read_metadata(path: str | Path) -> dict[str, str]:
    """The key-value metadata of a Parquet file, without Arrow's own entry."""
    with open_parquet(path) as file:
        pairs = file.schema_arrow.metadata or {}
    return {key.decode(): value.decode() for key, value in pairs.items() if not key.startswith(b"ARROW:")}
