"""Tiny random models of every family that Triaxis knows, and docs/models.md, the table of what it makes of them.

`make models` writes that page; a test holds the page to what the families show.
"""

import re
import textwrap
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from triaxis.attention.at_softmax import capture_logits
from triaxis.attention.layout import Layout, probe_layouts
from triaxis.base.errors import UserError
from triaxis.model import gguf_keys

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"

SIZES = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0 + 0.1 * n for n in range(8)],
    "long_factor": [2.0 + n for n in range(8)],
    "original_max_position_embeddings": 16,
}
GEMMA = {"head_dim": 32, "query_pre_attn_scalar": 20, "sliding_window": 8}
EXPERTS = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
DEEPSEEK = {
    "num_key_value_heads": 4,
    "q_lora_rank": 24,
    "kv_lora_rank": 24,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
}

# name: (type in transformers, settings of a tiny model, head_dim, how many dimensions each of two layers turns)
ROTARY = {
    "Llama 2": ("llama", {}, 16, (16, 16)),
    "Llama 3.1, 3.2 (llama3 scaling)": ("llama", {"rope_parameters": LLAMA3}, 16, (16, 16)),
    "Llama with YaRN": ("llama", {"rope_parameters": YARN}, 16, (16, 16)),
    "Llama with linear scaling": ("llama", {"rope_parameters": LINEAR}, 16, (16, 16)),
    "Llama with dynamic NTK": ("llama", {"rope_parameters": DYNAMIC}, 16, (16, 16)),
    "Mistral": ("mistral", {"sliding_window": 8}, 16, (16, 16)),
    "Mixtral": ("mixtral", EXPERTS, 16, (16, 16)),
    "Qwen2, Qwen2.5": ("qwen2", {}, 16, (16, 16)),
    "Qwen3": ("qwen3", {"head_dim": 32}, 32, (32, 32)),  # norms queries and keys
    "Qwen3 MoE": ("qwen3_moe", EXPERTS | {"head_dim": 16}, 16, (16, 16)),
    "Gemma": ("gemma", {"head_dim": 32}, 32, (32, 32)),
    "Gemma 2": ("gemma2", GEMMA, 32, (32, 32)),  # softcap, a window, its own scale
    "Gemma 3": ("gemma3_text", GEMMA | {"layer_types": ["sliding_attention", "full_attention"]}, 32, (32, 32)),
    "Phi-3 (longrope)": (
        "phi3",
        {"rope_parameters": LONGROPE, "original_max_position_embeddings": 16},
        16,
        (16, 16),
    ),  # one projection for all three
    "Phi-1, Phi-2": ("phi", {}, 16, (8, 8)),  # partial
    "GPT-NeoX, Pythia": ("gpt_neox", {}, 16, (4, 4)),  # partial, one projection
    "StableLM": ("stablelm", {"partial_rotary_factor": 0.5, "qk_layernorm": True}, 16, (8, 8)),
    "StarCoder2": ("starcoder2", {}, 16, (16, 16)),
    "Nemotron": ("nemotron", {}, 16, (8, 8)),  # partial
    "OLMo": ("olmo", {}, 16, (16, 16)),
    "OLMo 2": ("olmo2", {}, 16, (16, 16)),  # norms before the heads are split
    "OLMo 3": ("olmo3", {"sliding_window": 8}, 16, (16, 16)),
    "FlexOlmo": ("flex_olmo", EXPERTS, 16, (16, 16)),
    "Command R (Cohere)": ("cohere", {"use_qk_norm": True}, 16, (16, 16)),  # neighbouring dimensions are pairs
    "GLM": ("glm", {"head_dim": 16}, 16, (8, 8)),  # partial, neighbouring dimensions
    "GLM-4": ("glm4", {"head_dim": 16}, 16, (8, 8)),
    "ERNIE 4.5": ("ernie4_5", {"head_dim": 16}, 16, (16, 16)),  # neighbouring dimensions, half of cos and sin
    "Granite": ("granite", {"attention_multiplier": 0.3}, 16, (16, 16)),
    "SmolLM3": ("smollm3", {"no_rope_layers": [1, 0]}, 16, (16, 0)),  # a layer without rotation
    "GPT-OSS": (
        "gpt_oss",
        {
            "head_dim": 16,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "sliding_window": 8,
            "rope_parameters": YARN,
        },
        16,
        (16, 16),
    ),  # sinks
    "DeepSeek-V3": ("deepseek_v3", DEEPSEEK, 24, (8, 8)),  # latent attention
}

# name: (type, settings of a tiny model, where it keeps position); some rotate, but out of reach.
UNROTATED = {
    "GPT-2": ("gpt2", {"n_embd": 64, "n_layer": 2, "n_head": 4}, "learned"),
    "GPT-BigCode (StarCoder)": ("gpt_bigcode", {"n_embd": 64, "n_layer": 2, "n_head": 4}, "learned"),
    "OPT": ("opt", {"ffn_dim": 64, "word_embed_proj_dim": 64}, "learned"),
    "XGLM": ("xglm", {"d_model": 64, "num_layers": 2, "attention_heads": 4, "ffn_dim": 64}, "sinusoidal"),
    "BLOOM": ("bloom", {"n_layer": 2, "n_head": 4}, "ALiBi"),
    "MPT": ("mpt", {"d_model": 64, "n_heads": 4, "n_layers": 2}, "ALiBi"),
    "Falcon": ("falcon", {}, "RoPE in a module of its own"),
    "GPT-J": ("gptj", {"n_embd": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8}, "RoPE in a module of its own"),
    "CodeGen": ("codegen", {"n_embd": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8}, "RoPE in a module of its own"),
    "Llama 4": (
        "llama4_text",
        {"head_dim": 16, "num_local_experts": 2, "num_experts_per_tok": 1},
        "RoPE, a norm after it",
    ),
    "Hunyuan": ("hunyuan_v1_dense", {"head_dim": 16}, "RoPE, a norm after it"),
}


def build(family: str, attention: str | None = None, **settings: object) -> PreTrainedModel:
    """A tiny model of a family, in evaluation mode, whose every weight (norms, biases and sinks too) is random."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **(SIZES | settings))
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += (0.3 if weight.ndim == 1 else 0.1) * torch.randn_like(weight)
    return model


def describe_layout(layout: Layout) -> str:
    """How many dimensions turn, and which are pairs."""
    if not len(layout.dimension):
        return "none (NoPE)"
    apart = int((layout.partner - layout.dimension).abs().max())
    pairs = "neighbours" if apart == 1 else f"{apart} apart"
    return f"{len(layout.dimension)} of {layout.head_dim}, pairs {pairs}"


def reason(family: str, settings: dict[str, object]) -> str:
    """Why the capture of features refuses a model, up to the remedy."""
    try:
        probe_layouts(build(family, **settings))
    except UserError as error:
        return re.split(r": Triaxis|;| \(off", str(error).partition(f"'{family}' ")[2])[0]
    raise ValueError(f"{family} is not refused")


OPENING = f"""# Models

`make models` writes this page, and a test holds the page to it. Every family is tested on a tiny
random configuration in transformers {transformers.__version__}. Other families may work: Triaxis probes each layer,
checks itself, and refuses by name what it cannot do.

## Queries and keys before rotation: everything

These models get every experiment, and tests hold two things for each: the logits rebuilt from
queries and keys, and the run that the capture must not change.

In float32 the rebuilt logits equal those that the model feeds its softmax to
3e-6 of the largest, at lengths below and above the original context of a scaled rotation. In
bfloat16 and float16 they do to what rounding to these types explains. The layout of a rotation is
read from drawn weights, so that zeros in a model's own hide no dimension.

In all three types the captured run equals the plain one bit for bit. That covers the last hidden
states of both, on one machine, of one batch, by one attention implementation, at up to 1,024 tokens
([method/index.md](method/index.md) says what holds beyond). The last column says in which type a
model in bfloat16 computes its rotation; the capture uses the same.

| models | type in transformers | dimensions that turn in the tiny model, layer by layer | bfloat16 rotates in |
|---|---|---|---|
"""
BETWEEN = """
## Logits alone: the three-axis fit

The capture of queries and keys refuses these models by name. With `capture: logits` in a model's
entry, its logits are taken from the softmax, and the mechanism is not applicable. Tests hold what
the softmax receives to the model's own attention weights.

| models | type in transformers | position | the capture of queries and keys says |
|---|---|---|---|
"""
CLOSING = f"""
Refused both ways, by name:

- models with other layers among their attention (Mamba, linear attention);
- models with sinks or capped logits that are not in the first table;
- models that need code of their own (`trust_remote_code`).

## From one GGUF file

{textwrap.fill("Of the architectures " + ", ".join(f"`{name}`" for name in gguf_keys.FAMILIES) + ".", 100)}

Rotation, scaled or not, windows and scales are those of the file's keys. A key or a tensor without
a counterpart is refused by name. In float32 the logits are those of the safetensors twin, bit for
bit.
"""


def page() -> str:
    """docs/models.md, from what tiny models of the families show."""
    rotary, unrotated = [], []
    for name, (family, settings, *_) in ROTARY.items():
        layouts = probe_layouts(build(family, **settings))
        shown = dict.fromkeys(describe_layout(layouts[layer]) for layer in sorted(layouts))
        half = probe_layouts(build(family, **settings).to(torch.bfloat16))
        types = dict.fromkeys(str(layout.precision).removeprefix("torch.") for layout in half.values())
        rotary.append(f"| {name} | `{family}` | {'; '.join(shown)} | {'; '.join(types)} |\n")
    tokens = torch.arange(3, 15, dtype=torch.int32)[None].numpy()
    for name, (family, settings, position) in UNROTATED.items():
        capture_logits(build(family, "eager", **settings), tokens, [0], None, batch_tokens=1, keep=lambda *_: None)
        unrotated.append(f"| {name} | `{family}` | {position} | {reason(family, settings)} |\n")
    return OPENING + "".join(rotary) + BETWEEN + "".join(unrotated) + CLOSING


if __name__ == "__main__":
    PAGE.write_text(page())
