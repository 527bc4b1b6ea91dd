"""Attention methods: tokens a second and peak memory against length, beside transformers' own SDPA.

smollm2-135m cut to its first layers: every layer costs the same, and activations are freed layer by layer. Each
(method, length) runs once to warm up and then in interleaved rounds; memory is the peak above the start of a run.
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import interleaved
from triaxis.attention.capture import attending
from triaxis.attention.layout import probe_layouts
from triaxis.base.choices import LENGTH_METHODS, ROPE_SCALINGS
from triaxis.length.methods import Bands
from triaxis.length.run import make_method
from triaxis.model.loading import RopeScaling, load_model
from triaxis.model.memory import watch_memory

MODEL, LAYERS, LENGTHS, ROUNDS = "smollm2-135m", 2, (1024, 2048, 4096, 8192), 3
TRAINED = 2048  # a quarter of the longest, so that every method does what it is for
OPTIONS = {
    "factor": None,
    "seed": 0,
    "lm_infinite": {"n_global": 10, "n_local": 1024, "limit": None},
    "inf_llm": {"block": 128, "n_init": 128, "n_local": 1024, "topk": 4, "repr_topk": 4, "chunk": 512},
}
CHUNKED = ("lm_infinite", "inf_llm", "inf_llm_published", "clipped", "thinned", "clipped_thinned")


def model_of(rope_scaling: RopeScaling | None) -> torch.nn.Module:
    record = json.loads(Path(f"resources/models/{MODEL}.json").read_text())
    model = load_model(record["folder"], "float32", torch.device("cpu"), rope_scaling=rope_scaling)
    model.model.layers = model.model.layers[:LAYERS]
    model.config.num_hidden_layers = LAYERS
    return model


def runs() -> dict[str, Callable[[torch.Tensor], object]]:
    """name -> one forward pass without the output head."""
    own = model_of(None)
    found: dict[str, Callable[[torch.Tensor], object]] = {
        "transformers' SDPA": lambda ids: own.base_model(input_ids=ids, use_cache=False)
    }
    layouts = probe_layouts(own)
    for name in LENGTH_METHODS:
        method = make_method(name, OPTIONS, TRAINED, max(LENGTHS))
        model = model_of(method.rope_scaling) if name in ROPE_SCALINGS else own

        def run(ids: torch.Tensor, method=method, model=model) -> None:  # type: ignore[no-untyped-def]
            mask = Bands() if method.chunked else None
            with attending(model, layouts, method.attend, mask=mask):
                model.base_model(input_ids=ids, use_cache=False)

        found[name] = run
    return found


@torch.inference_mode()
def measure() -> list[tuple[str, str, str]]:
    torch.manual_seed(0)
    actions = runs()
    speeds: dict[str, list[float]] = {name: [] for name in actions}
    peaks: dict[str, list[float]] = {name: [] for name in actions}
    for length in LENGTHS:
        ids = torch.randint(3, 40_000, (1, length))
        for name, action in actions.items():
            action(ids[:, :64])
            peak = watch_memory(torch.device("cpu"))
            action(ids)
            peaks[name].append(peak() or float("nan"))
        times = interleaved(*(lambda action=action, ids=ids: action(ids) for action in actions.values()), rounds=ROUNDS)
        for name, time in zip(actions, times, strict=True):
            speeds[name].append(length / time)
    what = f"{MODEL}, first {LAYERS} layers, {', '.join(f'{length:,}' for length in LENGTHS)} tokens"
    rows = []
    for name in actions:
        speed = ", ".join(f"{value:,.0f}" for value in speeds[name])
        memory = ", ".join(f"{value:,.0f}" for value in peaks[name])
        growth = peaks[name][-1] / peaks[name][-2]
        asked = "memory at most 2.2 x for twice the length" if name in CHUNKED else "-"
        measured = f"{speed} tokens/s; {memory} MiB, {growth:.2f} x from 4k to 8k"
        rows.append((f"length, {name} ({what if not rows else 'the same'})", measured, asked))
    return rows
