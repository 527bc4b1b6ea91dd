"""Rows of logits summed a second, held-out cells included, on 2 threads under a 1 GiB limit."""

from tempfile import TemporaryDirectory

import pyarrow.parquet as pq

from benchmarks import interleaved
from triaxis.base import parquet
from triaxis.fit.groups import draw_groups
from triaxis.fit.schema import SUMS
from triaxis.fit.sums import sum_logits

LOGITS = "results/logits/model=smollm2-135m/shard-0000.parquet"


def measure() -> list[tuple[str, str, str]]:
    rows = pq.ParquetFile(LOGITS).metadata.num_rows
    groups = draw_groups(256, 0)
    with TemporaryDirectory(dir=".cache") as folder:

        def scan() -> None:
            for _ in sum_logits([LOGITS], groups, threads=2, memory_mb=1024, spill=folder):
                pass

        def stage() -> None:
            batches = sum_logits([LOGITS], groups, threads=2, memory_mb=1024, spill=folder)
            parquet.write_parquet(f"{folder}/sums.parquet", batches, SUMS, {})

        scan_time, stage_time = interleaved(scan, stage)
    return [
        ("million rows summed a second", f"{rows / scan_time / 1e6:.1f}", "at least 20"),
        ("the same with the sums written to Parquet", f"{rows / stage_time / 1e6:.1f}", "-"),
    ]
