"""Extraction, its check and its writing included, against the model's own forward pass."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks import interleaved
from triaxis.attention.layout import probe_layouts
from triaxis.base import parquet
from triaxis.logits import features_file
from triaxis.logits.extract import extract_features
from triaxis.logits.features import Features
from triaxis.model.loading import load_model

MODEL, BATCH, REPEATS = "smollm2-135m", 4, 4


def measure() -> list[tuple[str, str, str]]:
    record = json.loads(Path(f"resources/models/{MODEL}.json").read_text())
    model = load_model(record["folder"], "float32", torch.device("cpu"))
    rows = parquet.read_parquet(f"results/sequences/model={MODEL}/shard-0000.parquet")["tokens"].to_pylist()
    tokens = np.tile(np.array(rows, dtype=np.int32), (REPEATS, 1))

    @torch.inference_mode()
    def forward() -> None:
        for start in range(0, len(tokens), BATCH):
            model.base_model(input_ids=torch.from_numpy(tokens[start : start + BATCH]).long(), use_cache=False)

    def extract(write: Callable[[Features], None]) -> None:
        layouts = probe_layouts(model)
        numbers = range(len(tokens))
        extract_features(model, layouts, tokens, numbers, None, batch_tokens=BATCH * tokens.shape[1], tolerance=1e-3, write=write)

    def extract_to(folder: str) -> None:
        head_dim = model.config.head_dim
        with features_file.writer(f"{folder}/features.parquet", head_dim, {}) as out:
            extract(lambda layer: out.write_table(features_file.to_table(layer)))

    with TemporaryDirectory(dir=".cache") as folder:
        plain, captured, written = interleaved(
            forward, lambda: extract(lambda layer: None), lambda: extract_to(folder), rounds=3
        )
    size = f"{len(tokens)} sequences of {tokens.shape[1]}"
    return [
        (f"extraction / forward pass without the output head ({size})", f"{captured / plain:.2f}", "at most 1.15"),
        ("the same with the features written to Parquet", f"{written / plain:.2f}", "at most 1.15"),
    ]
