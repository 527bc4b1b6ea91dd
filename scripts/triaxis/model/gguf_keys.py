"""A GGUF file's keys to a transformers configuration: each is used, known to be harmless, or refused by name.

transformers' own conversion takes sizes and drops the rest: the scaling of the rotation, windows, scales. What a key
means, and what holds where a file does not have it, is llama.cpp's, whose converter writes these files.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triaxis.base.errors import UserError

SIZES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
}
HEAD = {"attention.key_length": "head_dim"}
RMS = {"attention.layer_norm_rms_epsilon": "rms_norm_eps"}
WINDOW = {"attention.sliding_window": "sliding_window"}
CAPS = {"attn_logit_softcapping": "attn_logit_softcapping", "final_logit_softcapping": "final_logit_softcapping"}
EXPERTS = {
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
}
SHARED = {"expert_shared_feed_forward_length": "shared_expert_intermediate_size"}


@dataclass(frozen=True)
class Family:
    """One architecture of GGUF: its type in transformers, the setting there of each key, what no key says, and
    whether it may turn a part of each head only."""

    type: str
    keys: Mapping[str, str]
    always: Mapping[str, Any] = field(default_factory=dict)
    partial: bool = False


# Only what the tests show to equal its safetensors twin. Llama 4, DeepSeek, GPT-OSS, Falcon and others are refused.
FAMILIES = {
    "llama": Family("llama", SIZES | HEAD | RMS),
    "qwen2": Family("qwen2", SIZES | RMS),
    "qwen3": Family("qwen3", SIZES | HEAD | RMS),
    "qwen2moe": Family("qwen2_moe", SIZES | RMS | EXPERTS | SHARED),
    "qwen3moe": Family("qwen3_moe", SIZES | HEAD | RMS | EXPERTS, {"norm_topk_prob": True}),
    "gemma2": Family("gemma2", SIZES | HEAD | RMS | WINDOW | CAPS, {"sliding_window": 4096}),
    "gemma3": Family("gemma3_text", SIZES | HEAD | RMS | WINDOW | CAPS),
    "phi3": Family("phi3", SIZES | RMS | WINDOW, partial=True),
    "starcoder2": Family("starcoder2", SIZES | {"attention.layer_norm_epsilon": "norm_epsilon"}),
    "stablelm": Family(
        "stablelm",
        SIZES | {"attention.layer_norm_epsilon": "layer_norm_eps", "use_parallel_residual": "use_parallel_residual"},
        partial=True,
    ),
    "nemotron": Family("nemotron", SIZES | {"attention.layer_norm_epsilon": "norm_eps"}, partial=True),
}
# The layers of the two models whose queries llama.cpp scales by hidden_size / heads, not by the size of a head.
WIDE = {"gemma2": 46, "gemma3": 62}
# Said of a model, and nothing that it computes by.
HARMLESS = {"rope.scaling.finetuned", "tensor_data_layout", "vocab_size"}
SPECIAL = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
# The factors of every published Llama 3.1, 3.2 and 3.3, but for how much they scale.
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


class Keys:
    """The keys of one architecture; remembers which were asked for."""

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        """name: of the file, for messages; fields: key -> value, as the file has them."""
        if "general.architecture" not in fields:
            raise UserError(f"{name} does not say its architecture (general.architecture): fetch it again")
        self.name, self.fields, self.architecture = name, fields, str(fields["general.architecture"])
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `architecture.key`, or `default`."""
        self.asked.add(f"{self.architecture}.{key}")
        return self.fields.get(f"{self.architecture}.{key}", default)

    def need(self, key: str) -> Any:
        """The value of `architecture.key`. Raises UserError if the file does not have it."""
        value = self.get(key)
        if value is None:
            raise UserError(
                f"{self.name} lacks the key {self.architecture}.{key}: bring the model's safetensors instead"
            )
        return value

    def unused(self) -> list[str]:
        """The architecture's keys that nobody asked for and that are not known to be harmless, with their values."""
        prefix = f"{self.architecture}."
        own = [key for key in self.fields if key.startswith(prefix) and key not in self.asked]
        return sorted(f"{key} = {self.fields[key]}" for key in own if key.removeprefix(prefix) not in HARMLESS)


def read_settings(
    name: str, fields: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]], factors: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """The settings of a transformers configuration, `model_type` among them, of a GGUF file called `name`.

    fields: key -> value. tensors: name -> shape. factors: the file's tensors of rotation, such as rope_freqs.weight.
    Raises UserError if the architecture is not one of FAMILIES, a key is missing, or one is neither used nor harmless.
    """
    keys = Keys(name, fields)
    family = FAMILIES.get(keys.architecture)
    if family is None or fields.get("general.type", "model") != "model":
        raise UserError(
            f"{name} is a GGUF file of architecture '{keys.architecture}' ({fields.get('general.type', 'model')}); "
            f"those known to equal their originals are {', '.join(FAMILIES)}: bring the model's safetensors instead"
        )
    settings: dict[str, Any] = {"model_type": family.type} | dict(family.always)
    for key, setting in family.keys.items():
        value = keys.get(key)
        if value is not None:
            settings[setting] = value
    if "token_embd.weight" not in tensors:
        raise UserError(f"{name} lacks token_embd.weight: fetch it again, or all parts of it")
    heads, size = keys.need("attention.head_count"), keys.need("embedding_length")
    settings.setdefault("num_key_value_heads", heads)
    if not all(
        isinstance(count, int) for count in (heads, settings["num_key_value_heads"], settings["intermediate_size"])
    ):
        raise UserError(f"{name} has layers of different sizes: bring the model's safetensors instead")
    head_dim = keys.get("attention.key_length", size // heads)
    if keys.get("attention.value_length", head_dim) != head_dim or keys.get("attention.causal", True) is not True:
        raise UserError(
            f"{name} has values of another size than its keys, or no causal attention: bring its safetensors"
        )
    if "head_dim" in family.keys.values():
        settings["head_dim"] = head_dim
    settings |= {
        "vocab_size": tensors["token_embd.weight"][0],
        "tie_word_embeddings": "output.weight" not in tensors,
        "rope_parameters": _rotation(keys, family, head_dim, factors, settings),
    }
    settings |= {own: fields.get(f"tokenizer.ggml.{theirs}_token_id") for own, theirs in SPECIAL.items()}
    settings |= _of_family(keys, tensors, settings, head_dim)
    if unused := keys.unused():
        raise UserError(
            f"{name} holds keys that have no counterpart in a '{family.type}' of transformers ({', '.join(unused)}): "
            "bring the model's safetensors instead"
        )
    return settings


def _rotation(
    keys: Keys, family: Family, head_dim: int, factors: Mapping[str, NDArray[Any]], settings: dict[str, Any]
) -> dict[str, Any]:
    """rope_parameters as transformers has them. Raises UserError for what they cannot say."""
    dimensions = keys.get("rope.dimension_count", head_dim)
    rotation: dict[str, Any] = {"rope_type": "default", "rope_theta": float(keys.get("rope.freq_base", 10000.0))}
    if family.partial:
        rotation["partial_rotary_factor"] = dimensions / head_dim
    elif dimensions != head_dim:
        raise UserError(f"{keys.name} turns {dimensions} of {head_dim} dimensions, which no '{family.type}' does")
    context = keys.need("context_length")
    factor = float(keys.get("rope.scaling.factor", 0.0) or keys.get("rope.scale_linear", 0.0) or 1.0)
    kind = keys.get("rope.scaling.type", "linear" if factor != 1.0 else "none")
    original = int(keys.get("rope.scaling.original_context_length", context))
    strength = float(keys.get("rope.scaling.attn_factor", 1.0))
    long, short = (factors.get(f"rope_factors_{which}.weight") for which in ("long", "short"))
    freqs = factors.get("rope_freqs.weight")
    if kind == "yarn" and freqs is None and long is None:
        return rotation | _yarn(keys, factor, original, strength)
    if long is not None and short is not None and freqs is None and kind in ("none", "longrope"):
        settings["original_max_position_embeddings"] = original
        scaled = {"long_factor": long.tolist(), "short_factor": short.tolist(), "attention_factor": strength}
        return rotation | {"rope_type": "longrope", "original_max_position_embeddings": original} | scaled
    if long is None and short is None and strength == 1.0:
        if freqs is not None and kind in ("none", "llama3"):
            return rotation | _divided(freqs, rotation["rope_theta"], context)
        if freqs is None and kind == "linear" and factor != 1.0:
            return rotation | {"rope_type": "linear", "factor": factor}
        if freqs is None and kind in ("none", "linear"):
            return rotation
    raise UserError(
        f"{keys.name} scales its rotation by '{kind}' (factor {factor:g}, attention {strength:g}) with "
        f"{', '.join(sorted(factors)) or 'no factors'}, which transformers has no name for: bring its safetensors"
    )


def _yarn(keys: Keys, factor: float, original: int, strength: float) -> dict[str, Any]:
    """llama.cpp multiplies cos and sin by 1 + 0.1 ln(factor), as transformers does, and by the file's own factor."""
    strength *= float(keys.get("rope.scaling.yarn_attn_factor", 1.0))
    if keys.get("rope.scaling.yarn_ext_factor", 1.0) not in (1.0, -1.0):
        raise UserError(
            f"{keys.name} mixes YaRN with no scaling (yarn_ext_factor): bring the model's safetensors instead"
        )
    if keys.get("rope.scaling.yarn_log_multiplier", 0.0):
        raise UserError(f"{keys.name} has a yarn_log_multiplier, of models that are not known: bring its safetensors")
    return {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": original,
        "attention_factor": strength * (0.1 * math.log(factor) + 1.0),
        "beta_fast": float(keys.get("rope.scaling.yarn_beta_fast", 32.0)),
        "beta_slow": float(keys.get("rope.scaling.yarn_beta_slow", 1.0)),
    }


def _divided(freqs: NDArray[Any], theta: float, context: int) -> dict[str, Any]:
    """A rotation whose frequencies are divided by the file's factors, one for each pair.

    By Llama 3's name if the factors are Llama 3's; else as longrope whose long and short factors are the same.
    """
    factor = float(freqs.max())
    if np.allclose(freqs, _llama3_factors(len(freqs), theta, factor), rtol=1e-6, atol=0):
        return {"rope_type": "llama3", "factor": factor} | LLAMA3
    same = {"long_factor": freqs.tolist(), "short_factor": freqs.tolist(), "attention_factor": 1.0}
    return {"rope_type": "longrope", "original_max_position_embeddings": context} | same


def _llama3_factors(pairs: int, theta: float, factor: float) -> NDArray[np.float64]:
    """By how much Llama 3 divides the frequency of each pair."""
    wavelengths = 2 * math.pi * theta ** (np.arange(pairs) / pairs)
    low, high = LLAMA3["low_freq_factor"], LLAMA3["high_freq_factor"]
    smooth = ((LLAMA3["original_max_position_embeddings"] / wavelengths - low) / (high - low)).clip(0, 1)
    return 1 / ((1 - smooth) / factor + smooth)


def _of_family(
    keys: Keys, tensors: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any], head_dim: int
) -> dict[str, Any]:
    """What one family alone has, and the scale of its logits."""
    name, own = keys.architecture, {}
    scale = keys.get("attention.scale")
    if name in WIDE:
        wide = settings["num_hidden_layers"] == WIDE[name]
        default = settings["hidden_size"] // settings["num_attention_heads"] if wide else head_dim
        own["query_pre_attn_scalar"] = round(scale**-2) if scale else default
        if scale and not math.isclose(own["query_pre_attn_scalar"] ** -0.5, scale, rel_tol=1e-6):
            raise UserError(f"{keys.name} scales its logits by {scale:g}, which is no whole query_pre_attn_scalar")
    elif scale and not math.isclose(scale, head_dim**-0.5, rel_tol=1e-6):
        raise UserError(f"{keys.name} scales its logits by {scale:g}, which no '{name}' of transformers does")
    if name == "gemma3":
        # Layers with a window turn by a base of their own, and are never scaled.
        local = {"rope_type": "default", "rope_theta": float(keys.get("rope.freq_base_swa", 10000.0))}
        own["rope_parameters"] = {"full_attention": settings["rope_parameters"], "sliding_attention": local}
    if name == "stablelm":
        own["use_qkv_bias"] = "blk.0.attn_q.bias" in tensors
        own["use_parallel_residual"] = "blk.0.ffn_norm.weight" not in tensors
    return own
