"""Extraction, its check and its writing included, against the model's own forward pass."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks import interleaved
from triaxis import features, tables
from triaxis.capture import probe_layouts
from triaxis.extract import extract_features
from triaxis.models import load_model

MODEL, BATCH, REPEATS = "smollm2-135m", 4, 4


def measure() -> list[tuple[str, str, str]]:
    record = json.loads(Path(f"resources/models/{MODEL}.json").read_text())
    model = load_model(record["folder"], "float32", torch.device("cpu"))
    rows = tables.read_parquet(f"results/sequences/model={MODEL}/shard-0000.parquet")["tokens"].to_pylist()
    tokens = np.tile(np.array(rows, dtype=np.int32), (REPEATS, 1))

    @torch.inference_mode()
    def forward() -> None:
        for start in range(0, len(tokens), BATCH):
            model.base_model(input_ids=torch.from_numpy(tokens[start : start + BATCH]).long(), use_cache=False)

    def extract(folder: str) -> None:
        layouts = probe_layouts(model)
        with features.writer(f"{folder}/features.parquet", layouts[0].head_dim, {}) as parquet:
            extract_features(
                model,
                layouts,
                tokens,
                range(len(tokens)),
                None,
                batch=BATCH,
                tolerance=1e-3,
                write=lambda layer: parquet.write_table(features.to_table(layer)),
            )

    with TemporaryDirectory(dir=".cache") as folder:
        plain, ours = interleaved(forward, lambda: extract(folder), rounds=3)
    what = f"extraction / forward pass without the output head ({len(tokens)} sequences of {tokens.shape[1]})"
    return [(what, f"{ours / plain:.2f}", "at most 1.15")]
