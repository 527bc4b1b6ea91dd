"""Triaxis on a GPU: extraction against the forward pass, the fit and additivity against the CPU's cores, and memory.

    python benchmarks/gpu.py

For a machine with a GPU and no network. It needs torch, transformers and numpy alone, reads no file, and takes a model
of random weights in the sizes of Llama-3.2-3B. It writes benchmarks/gpu.md.
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "scripts")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from benchmarks import interleaved  # noqa: E402
from triaxis.attention.layout import probe_layouts  # noqa: E402
from triaxis.attention.rope import Rotary  # noqa: E402
from triaxis.fit.axes import designs, fit_axes  # noqa: E402
from triaxis.fit.combinations import COMBINATIONS, FULL  # noqa: E402
from triaxis.fit.groups import draw_groups  # noqa: E402
from triaxis.fit.linear import rotate, sum_over_axes  # noqa: E402
from triaxis.logits.extract import extract_features  # noqa: E402
from triaxis.logits.features import Features  # noqa: E402
from triaxis.mechanism.additivity import additivity_of, grid_of, varying  # noqa: E402
from triaxis.mechanism.components import sizes, to_components, turns_at  # noqa: E402
from triaxis.model.inputs import passes, token_ids  # noqa: E402

Tensor = torch.Tensor
Row = tuple[str, str]

# https://huggingface.co/meta-llama/Llama-3.2-3B, config.json
LLAMA_3B = {
    "vocab_size": 128256,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 28,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}

HEADER = """# On a GPU

Written by `python benchmarks/gpu.py` on {card}, beside {cores} CPU cores, with torch {torch} and
transformers {transformers}. The model has random weights in the sizes of Llama-3.2-3B, in float32. Each
time is the median of interleaved rounds.

| what | measured |
|---|---|
"""


@dataclass(frozen=True)
class Plan:
    """What is measured: a Llama model of these `sizes`; sequences of `lengths` tokens, as many as two passes of the
    longest take; a layer's fit and additivity at the longest; and how many rounds each is timed."""

    sizes: dict[str, Any]
    lengths: tuple[int, int]
    rounds: int


PLAN = Plan(LLAMA_3B, (1024, 8192), 5)


def measure(device: torch.device, plan: Plan, cores: int) -> list[Row]:
    """The rows of the table. device: where the model is, and what is set beside `cores` threads of the CPU."""
    torch.manual_seed(0)
    with device:
        model = LlamaForCausalLM(LlamaConfig(**plan.sizes)).eval()
    rows = [row for length in plan.lengths for row in extraction(model, length, plan)]
    layer, rotary = one_layer(model, plan.lengths[-1])
    del model
    for name, work in (
        ("fit of a layer, all axes and held out", fit_heads),
        ("additivity of a layer, all queries, keys and distances", additivity_of_heads),
    ):
        rows += against_cores(name, work, layer, rotary, device, cores, plan.rounds)
    return rows


def some_tokens(model: LlamaForCausalLM, count: int, length: int) -> np.ndarray:
    """(count, length) token ids, drawn evenly."""
    return np.random.default_rng(0).integers(model.config.vocab_size, size=(count, length), dtype=np.int32)


def extract(model: LlamaForCausalLM, tokens: np.ndarray, write: Callable[[Features], None], most: int) -> dict:
    """The rotation of each layer; `most` tokens a pass."""
    layouts, numbers = probe_layouts(model), range(len(tokens))
    options = {"batch_tokens": most, "tolerance": 1e-3, "write": write}
    return extract_features(model, layouts, tokens, numbers, None, **options)[0]


def extraction(model: LlamaForCausalLM, length: int, plan: Plan) -> list[Row]:
    """Extraction, its check included, against the forward pass alone; the features reach the CPU and are dropped."""
    device, most = model.device, plan.lengths[-1]
    tokens = some_tokens(model, 2 * most // length, length)

    @torch.inference_mode()
    def forward() -> None:
        for part in passes(tokens, most):
            model.base_model(input_ids=token_ids(model, tokens[part]), use_cache=False)

    def captured() -> None:
        extract(model, tokens, lambda layer: None, most)

    forward_peak, captured_peak = peak_of(forward, device), peak_of(captured, device)
    plain, ours = interleaved(waiting(forward, device), waiting(captured, device), rounds=plan.rounds)
    size = f"{len(tokens)} sequences of {length:,}"
    return [
        (
            f"extraction / forward pass without the output head ({size})",
            f"{ours / plain:.2f} ({ours:.3f} s, {plain:.3f} s)",
        ),
        ("their peak device memory, beyond the weights", f"{captured_peak}, {forward_peak}"),
    ]


def one_layer(model: LlamaForCausalLM, length: int) -> tuple[Features, Rotary]:
    """The queries and keys of the model's last layer."""
    kept: list[Features] = []

    def keep(layer: Features) -> None:
        kept[:] = [layer]

    rotaries = extract(model, some_tokens(model, 1, length), keep, length)
    return kept[0], rotaries[kept[0].layer]


def fit_heads(query: Tensor, key: Tensor, rotary: Rotary) -> Tensor:
    """r of the three-axis fit, (heads,); the other combinations and the held-out fits are made with it. query: (heads,
    length, head_dim), key: (key heads, length, head_dim), float64, before rotation."""
    length = query.shape[1]
    positions = torch.arange(length, device=query.device)
    query, key = rotary.scale * rotate(query, rotary, positions), rotate(key, rotary, positions)
    sums = sum_over_axes(query, key, draw_groups(length, 0))
    pair = designs(length, 0, query.device)
    return {axes: fit_axes(*sums, *pair, axes).r for axes in COMBINATIONS}[FULL]


def additivity_of_heads(query: Tensor, key: Tensor, rotary: Rotary) -> Tensor:
    """r_additive of every query, (heads, length). Arguments as of `fit_heads`."""
    turns = varying(turns_at(rotary, torch.arange(query.shape[1], device=query.device)))
    queries, keys = to_components(query, rotary, rotary.scale), to_components(key, rotary)
    return additivity_of(queries, sizes(queries), grid_of(keys, turns)).r_additive


def against_cores(
    name: str,
    work: Callable[[Tensor, Tensor, Rotary], Tensor],
    layer: Features,
    rotary: Rotary,
    device: torch.device,
    cores: int,
    rounds: int,
) -> list[Row]:
    """`work` on all heads of a layer at once, on the device, against one key head a core at a time; and how far their
    numbers are apart."""
    query, key = (torch.from_numpy(own).double() for own in (layer.query, layer.key))
    layers = [(query, key)] * max(1, -(-cores // len(key)))  # with fewer key heads than cores, some would be idle
    parts = [part for q, k in layers for part in zip(q.split(len(q) // len(k)), k.split(1), strict=True)]
    found: dict[str, Tensor] = {}

    @torch.inference_mode()
    def of_part(part: tuple[Tensor, Tensor]) -> Tensor:
        return work(*part, rotary)

    @torch.inference_mode()
    def on_device() -> None:
        found["device"] = torch.cat([work(q.to(device), k.to(device), rotary).cpu() for q, k in layers])

    def on_cores() -> None:
        found["cores"] = torch.cat(list(pool.map(of_part, parts)))

    peak = peak_of(on_device, device)
    with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        on_cores()
        theirs, ours = interleaved(on_cores, waiting(on_device, device), rounds=rounds)
    apart = float((found["device"] - found["cores"]).abs().max())
    heads, length, head_dim = query.shape
    what = (
        f"{name}: {cores} CPU cores / device ({len(layers) * heads} heads of {head_dim} dimensions, {length:,} tokens)"
    )
    return [
        (what, f"{theirs / ours:.1f} ({theirs:.3f} s, {ours:.3f} s), within {apart:.0e}"),
        ("its peak device memory", peak),
    ]


def waiting(action: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """The same, until the device has done it."""

    def whole() -> None:
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return whole


def peak_of(action: Callable[[], None], device: torch.device) -> str:
    """What `action` allocates on the device at its peak, beyond what is there before. It is a warm-up, too."""
    if device.type != "cuda":
        action()
        return "-"
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    action()
    torch.cuda.synchronize(device)
    return f"{(torch.cuda.max_memory_allocated(device) - before) / 2**20:,.0f} MiB"


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py measures on a GPU, and torch finds none on this machine: nothing is written")
    device = torch.device("cuda", 0)
    cores = min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    rows = measure(device, PLAN, cores)
    about = {"card": torch.cuda.get_device_name(device), "cores": cores}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    table = HEADER.format(**about, **versions) + "".join(f"| {what} | {measured} |\n" for what, measured in rows)
    (PROJECT / "benchmarks" / "gpu.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
