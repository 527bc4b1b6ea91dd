"""Logits written and summed from their files, against the same sums taken as the logits are made."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import interleaved
from triaxis.attention import rope_file
from triaxis.base import parquet
from triaxis.fit.axes import draw_half
from triaxis.fit.device_sums import MatrixSums, sum_features
from triaxis.fit.schema import SUMS
from triaxis.fit.sums import sum_logits
from triaxis.logits.features_file import read_features
from triaxis.logits.logits import dump_logits, writer

SHARD = "model=smollm2-135m/shard-0000.parquet"
MATRICES = 60  # (sequence, layer)


def measure() -> list[tuple[str, str, str]]:
    rotaries = rope_file.from_table(parquet.read_parquet(f"results/rope/{SHARD}"))
    layers = [layer for _, layer in zip(range(MATRICES), read_features(f"results/features/{SHARD}"), strict=False)]
    length, half, device = layers[0].query.shape[1], draw_half(layers[0].query.shape[1], 0), torch.device("cpu")
    torch.set_num_threads(2)

    with TemporaryDirectory(dir=".cache") as folder:
        logits = Path(folder, "logits.parquet")

        def written() -> None:
            with writer(logits, {}) as out:
                for table in dump_logits(layers, rotaries, None):
                    out.write_table(table, row_group_size=len(table))
            rows = sum_logits([logits], half, threads=2, memory_mb=1024, spill=folder)
            parquet.write_parquet(f"{folder}/sums.parquet", rows, SUMS, {})

        @torch.inference_mode()
        def unwritten() -> None:
            rows = sum_features(layers, rotaries, None, MatrixSums(length, 0, device), device)
            parquet.write_parquet(f"{folder}/sums.parquet", parquet.batched(rows), SUMS, {})

        written_time, unwritten_time = interleaved(written, unwritten)
        share = Path(folder, "sums.parquet").stat().st_size / logits.stat().st_size
    return [
        ("logits kept: all / none, time to the sums on 2 cores", f"{written_time / unwritten_time:.2f}", "-"),
        ("bytes on disk, none / all (the sums alone / the logits)", f"{share:.3f}", "-"),
    ]
