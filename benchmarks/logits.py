"""Computing and writing logits against pyarrow writing the same tables."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import interleaved
from triaxis.attention import rope_file
from triaxis.base import parquet
from triaxis.logits.features_file import read_features
from triaxis.logits.logits import dump_logits, writer
from triaxis.logits.schema import LOGITS

SHARD = "model=smollm2-135m/shard-0000.parquet"


def measure() -> list[tuple[str, str, str]]:
    rotaries = rope_file.from_table(parquet.read_parquet(f"results/rope/{SHARD}"))
    layers = list(read_features(f"results/features/{SHARD}"))[:60]
    ready = list(dump_logits(layers, rotaries, None))
    schema = pa.schema([*LOGITS, *parquet.SERIES])

    with TemporaryDirectory(dir=".cache") as folder:
        ours_path, plain_path = Path(folder, "model=own/ours.parquet"), Path(folder, "plain.parquet")

        def ours() -> None:
            with writer(ours_path, {}) as out:
                for table in dump_logits(layers, rotaries, None):
                    out.write_table(table, row_group_size=len(table))

        def plain() -> None:
            options = {"compression": "zstd", "use_dictionary": [name for name in schema.names if name != "logit"]}
            options |= {"column_encoding": {"logit": "BYTE_STREAM_SPLIT"}, "compression_level": 1}
            with pq.ParquetWriter(plain_path, schema, **options) as out:
                for table in ready:
                    empty = [pa.nulls(len(table), kind) for _, kind in parquet.SERIES]
                    out.write_table(
                        pa.Table.from_arrays([*table.columns, *empty], schema=schema), row_group_size=len(table)
                    )

        plain_time, ours_time = interleaved(plain, ours)
    rows = pq.ParquetFile(f"results/logits/{SHARD}").metadata.num_rows
    size = Path(f"results/logits/{SHARD}").stat().st_size / rows
    return [
        ("computing and writing logits / pyarrow writing them", f"{ours_time / plain_time:.2f}", "at most 1.5"),
        ("bytes a row of logits/", f"{size:.2f}", "at most 3.6"),
    ]
