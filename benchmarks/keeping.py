"""Fits by way of written logits, against fits straight from the features."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import interleaved
from triaxis.attention import rope_file
from triaxis.base import parquet
from triaxis.fit.axes import designs
from triaxis.fit.fits_file import write_fits
from triaxis.fit.from_features import sum_features
from triaxis.fit.groups import draw_groups
from triaxis.fit.schema import SUMS
from triaxis.fit.summed import in_batches
from triaxis.fit.sums import sum_logits
from triaxis.fit.sums_file import read_sums
from triaxis.logits.features_file import read_features
from triaxis.logits.logits import dump_logits, writer

SHARD = "model=smollm2-135m/shard-0000.parquet"
MATRICES = 60  # (sequence, layer)


def measure() -> list[tuple[str, str, str]]:
    rotaries = rope_file.from_table(parquet.read_parquet(f"results/rope/{SHARD}"))
    layers = [layer for _, layer in zip(range(MATRICES), read_features(f"results/features/{SHARD}"), strict=False)]
    length = layers[0].query.shape[1]
    groups, by_length = draw_groups(length, 0), {length: designs(length, 0)}
    log = logging.getLogger("benchmarks")
    torch.set_num_threads(2)

    with TemporaryDirectory(dir=".cache") as folder:
        logits, sums, fits, components = (
            Path(folder, f"{n}.parquet") for n in ("logits", "sums", "fits", "components")
        )

        @torch.inference_mode()
        def written() -> None:
            with writer(logits, {}) as out:
                for table in dump_logits(layers, rotaries, None):
                    out.write_table(table, row_group_size=len(table))
            rows = sum_logits([logits], groups, threads=2, memory_mb=1024, spill=folder)
            parquet.write_parquet(sums, rows, SUMS, {})
            write_fits(read_sums(sums, *by_length[length]), by_length, fits, components, {}, log)

        @torch.inference_mode()
        def straight() -> None:
            summed = in_batches(sum_features(layers, rotaries, None, {length: groups}, torch.device("cpu")))
            write_fits(summed, by_length, fits, components, {}, log)

        written_time, straight_time = interleaved(written, straight)
    return [
        (
            "fits by way of written logits / straight from features, on 2 cores",
            f"{written_time / straight_time:.2f}",
            "-",
        ),
    ]
