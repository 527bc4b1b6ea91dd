"""GGUF files as llama.cpp's converter writes them, of tiny models: keys by the file's names, tensors in its order."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from transformers import PreTrainedModel

ARCHITECTURES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
    "phi3": "phi3",
    "starcoder2": "starcoder2",
    "stablelm": "stablelm",
    "nemotron": "nemotron",
}
# What the converter writes of a configuration, where it has it.
KEYS = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
}
EPSILONS = {"starcoder2": "norm_epsilon", "stablelm": "layer_norm_eps", "nemotron": "norm_eps"}
TYPES = {bool: gguf.GGUFValueType.BOOL, int: gguf.GGUFValueType.UINT32, float: gguf.GGUFValueType.FLOAT32}


def keys_of(model: PreTrainedModel) -> dict[str, Any]:
    """architecture-less key -> value of a model; the rotation's scaling is the caller's."""
    config = model.config
    keys = {key: getattr(config, name) for key, name in KEYS.items() if getattr(config, name, None) is not None}
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rotation = config.rope_parameters.get("full_attention", config.rope_parameters)
    keys["rope.freq_base"] = float(rotation["rope_theta"])
    keys["rope.dimension_count"] = int(head_dim * rotation.get("partial_rotary_factor", 1.0))
    if config.model_type not in ("qwen2", "qwen2_moe", "phi3", *EPSILONS):
        keys |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
    if config.model_type in ("gemma2", "gemma3_text", "phi3") and config.sliding_window:
        keys["attention.sliding_window"] = config.sliding_window
    if config.model_type in EPSILONS:
        keys["attention.layer_norm_epsilon"] = getattr(config, EPSILONS[config.model_type])
    if config.model_type == "stablelm":
        keys["use_parallel_residual"] = config.use_parallel_residual
    return keys


def tensors_of(model: PreTrainedModel) -> dict[str, np.ndarray]:
    """GGUF name -> values."""
    config, kind = model.config, model.config.model_type
    architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == ARCHITECTURES[kind])
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    found = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.float().numpy()
        if name.endswith("mlp.experts.gate_up_proj"):
            layer, half = name.split(".")[2], values.shape[1] // 2
            found[f"blk.{layer}.ffn_gate_exps.weight"] = np.ascontiguousarray(values[:, :half])
            found[f"blk.{layer}.ffn_up_exps.weight"] = np.ascontiguousarray(values[:, half:])
            continue
        if name.endswith("mlp.experts.down_proj"):
            found[f"blk.{name.split('.')[2]}.ffn_down_exps.weight"] = values
            continue
        if kind == "llama":  # GGUF has the pairs of a Llama side by side
            for projection, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
                if projection in name:
                    values = values.reshape(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
        if kind in ("gemma2", "gemma3_text", "nemotron") and name.endswith("norm.weight"):
            values = values + 1
        if name.endswith("shared_expert_gate.weight"):
            values = values[0]
        own = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert own, f"GGUF has no name for {name}"
        found[own] = np.ascontiguousarray(values)
    return found


def write(
    path: Path,
    architecture: str,
    keys: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    *,
    more: Mapping[str, Any] | None = None,
    quantised: bool = False,
) -> Path:
    """Write a file with a byte-level tokenizer of as many tokens as the embedding has rows.

    keys: without the architecture before them. more: whole keys. quantised: matrices in Q8_0.
    """
    size = 128
    tokens = ["<unk>", "<s>", "</s>", "ab", *map(chr, range(33, 127))]
    tokens += [f"x{number}" for number in range(size - len(tokens))]
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in {f"{architecture}.{key}": value for key, value in keys.items()}.items():
        _add(writer, key, value)
    for key, value in (more or {}).items():
        _add(writer, key, value)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, values in tensors.items():
        kind = gguf.GGMLQuantizationType.Q8_0
        if quantised and values.ndim == 2 and values.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, Sequence):
        writer.add_array(key, list(value))
    else:
        writer.add_key_value(key, value, TYPES[type(value)])


def write_model(path: Path, model: PreTrainedModel, **changes: Any) -> Path:
    """Write a model as it is; keys, tensors: more of them, or None for those to leave out; other options as `write`."""
    keys = keys_of(model) | changes.pop("keys", {})
    tensors = tensors_of(model) | changes.pop("tensors", {})
    kept = [{key: value for key, value in given.items() if value is not None} for given in (keys, tensors)]
    return write(path, ARCHITECTURES[model.config.model_type], *kept, **changes)
