"""Extraction, its check and its writing included, against the model's own forward pass; and its memory by length."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from benchmarks import interleaved
from triaxis.attention.layout import probe_layouts
from triaxis.base import parquet
from triaxis.logits import features_file
from triaxis.logits.extract import extract_features
from triaxis.logits.features import Features
from triaxis.model.inputs import passes, token_ids
from triaxis.model.loading import load_model
from triaxis.model.memory import watch_memory

MODEL, BATCH_TOKENS, REPEATS = "smollm2-135m", 1024, 4
LENGTHS = (1024, 2048, 4096, 8192)
CPU = torch.device("cpu")


def measure() -> list[tuple[str, str, str]]:
    record = json.loads(Path(f"resources/models/{MODEL}.json").read_text())
    model = load_model(record["folder"], "float32", CPU)
    rows = parquet.read_parquet(f"results/sequences/model={MODEL}/shard-0000.parquet")["tokens"].to_pylist()
    tokens = np.array(rows, dtype=np.int32)
    return [*_times(model, np.tile(tokens, (REPEATS, 1))), _memory(model, tokens.reshape(-1))]


def _extract(model: PreTrainedModel, tokens: NDArray[np.int32], write: Callable[[Features], None]) -> None:
    layouts, numbers = probe_layouts(model), range(len(tokens))
    extract_features(model, layouts, tokens, numbers, None, batch_tokens=BATCH_TOKENS, tolerance=1e-3, write=write)


def _extract_to_file(model: PreTrainedModel, tokens: NDArray[np.int32]) -> None:
    with (
        TemporaryDirectory(dir=".cache") as folder,
        features_file.writer(f"{folder}/features.parquet", model.config.head_dim, {}) as out,
    ):
        _extract(model, tokens, lambda layer: out.write_table(features_file.to_table(layer)))


def _times(model: PreTrainedModel, tokens: NDArray[np.int32]) -> list[tuple[str, str, str]]:
    @torch.inference_mode()
    def forward() -> None:
        for part in passes(tokens, BATCH_TOKENS):
            model.base_model(input_ids=token_ids(model, tokens[part]), use_cache=False)

    plain, captured, written = interleaved(
        forward,
        lambda: _extract(model, tokens, lambda layer: None),
        lambda: _extract_to_file(model, tokens),
        rounds=3,
    )
    size = f"{len(tokens)} sequences of {tokens.shape[1]}"
    return [
        (f"extraction / forward pass without the output head ({size})", f"{captured / plain:.2f}", "at most 1.15"),
        ("the same with the features written to Parquet", f"{written / plain:.2f}", "at most 1.15"),
    ]


def _memory(model: PreTrainedModel, tokens: NDArray[np.int32]) -> tuple[str, str, str]:
    """Peak memory beyond the loaded model's, features written, of one sequence of each length; its exponent by least
    squares. tokens (n,): repeated as often as a length needs."""
    _extract_to_file(model, np.resize(tokens, (1, LENGTHS[0])))  # the weights are read from their file as they are used
    peaks = []
    for length in LENGTHS:
        peak = watch_memory(CPU)
        _extract_to_file(model, np.resize(tokens, (1, length)))
        peaks.append(peak() or float("nan"))
    exponent = np.polyfit(np.log(LENGTHS), np.log(peaks), 1)[0]
    lengths, sizes = (", ".join(f"{n:,.0f}" for n in numbers) for numbers in (LENGTHS, peaks))
    what = f"extraction, memory beyond the model's at {lengths} tokens, features written"
    return what, f"{sizes} MiB: exponent {exponent:.2f}", "exponent at most 1.1"
