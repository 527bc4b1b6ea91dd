"""What a model folder says of itself, before anything is loaded: a causal language model, or one line."""

import difflib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers import CONFIG_MAPPING, PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

from triaxis.base.errors import UserError

# Quantisations that transformers turns into plain weights on any machine, with nothing installed beside it.
DEQUANTISED = {"fp8", "mxfp4"}
ROPE_TYPES = sorted({"default", *ROPE_INIT_FUNCTIONS})
TYPE_KEYS = {"rope_type", "type"}
# A rotation's older name in a family's original code: type of the model -> name there -> name today.
ROPE_ALIASES = {"phi3": {"su": "longrope"}}


def read_config(folder: str | Path) -> PreTrainedConfig:
    """The configuration of a model folder, as transformers' own class of its type has it.

    Raises UserError if the folder is not that of a causal language model that transformers knows and can load as it
    was published: code of its own, a quantisation, an encoder, a model with an encoder, one of images or sound, an
    unknown type of rotation.
    """
    folder = Path(folder)
    settings = _read_settings(folder)
    kind = _require_known(folder, settings)
    _require_own_class(folder, settings, kind)
    _require_plain(folder, settings)
    for rotation in _rotations(settings):
        _rename(rotation, ROPE_ALIASES.get(kind, {}), settings)
        _require_rotation(folder, rotation, kind)
    try:
        config = CONFIG_MAPPING[kind].from_dict(settings)
    except Exception as error:  # whatever a foreign config.json makes a class raise
        raise UserError(f"{folder}/config.json does not describe a model of type '{kind}': {error}") from error
    _require_causal(folder, config)
    config.name_or_path = str(folder)
    return config


def _read_settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / "config.json").read_text())
    except OSError:
        raise UserError(f"no model can be loaded from {folder}: it has no config.json") from None
    except ValueError as error:
        raise UserError(f"{folder}/config.json is not JSON ({error}): fetch it again") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("model_type"), str):
        raise UserError(
            f"no model can be loaded from {folder}: its config.json names no model_type; name a folder that "
            "save_pretrained of transformers wrote"
        )
    return settings


def _require_known(folder: Path, settings: Mapping[str, Any]) -> str:
    """The model's type. Raises UserError if transformers does not know it."""
    kind = settings["model_type"]
    if kind in CONFIG_MAPPING:
        return kind
    if code := settings.get("auto_map"):
        files = sorted({str(entry).split(".")[0] + ".py" for entry in code.values() if isinstance(entry, str)})
        raise UserError(
            f"no model can be loaded from {folder}: its type '{kind}' needs code of its own ({', '.join(files)}), "
            "which is never run; name a model whose type transformers knows"
        )
    near = difflib.get_close_matches(kind, list(CONFIG_MAPPING), n=3)
    raise UserError(
        f"no model can be loaded from {folder}: transformers {transformers.__version__} knows no type '{kind}'"
        + (f" (the nearest: {', '.join(near)})" if near else "")
    )


def _require_own_class(folder: Path, settings: Mapping[str, Any], kind: str) -> None:
    """Raise UserError if config.json names code for a known type that is not, by its name, transformers' own class."""
    entry = (settings.get("auto_map") or {}).get("AutoModelForCausalLM")
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
    if entry is None or known is None:
        return
    named = (entry[0] if isinstance(entry, list) else entry).rpartition(".")[2]
    if named.lower() != str(known).lower():
        raise UserError(
            f"{folder}/config.json calls its type '{kind}' but names a class of its own for it (auto_map: {entry}), "
            f"which is never run, and which {known} of transformers need not equal: name a model of a known class, or "
            "drop auto_map if you know that they are the same"
        )
    logging.getLogger("triaxis").warning(
        "%s/config.json names code of its own (%s), which is not run: transformers' %s is used", folder, entry, known
    )


def _require_plain(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise UserError for a quantisation that needs what Triaxis has not; ask for plain weights from any other."""
    parts = [settings, settings.get("text_config") or {}]
    for quantisation in (part.get(key) for part in parts for key in ("quantization_config", "compression_config")):
        if not quantisation:
            continue
        method = quantisation.get("quant_method") or ("bitsandbytes" if _bits(quantisation) else "unknown")
        if method not in DEQUANTISED:
            raise UserError(
                f"the weights in {folder} are quantised by {method}{_bits(quantisation)}, which needs kernels that are "
                "not part of Triaxis: name the model that they were made from, in float or bfloat16, or its GGUF file"
            )
        quantisation["dequantize"] = True  # on a GPU too, so that a model is the same everywhere


def _bits(quantisation: Mapping[str, Any]) -> str:
    bits = quantisation.get("bits") or next((n for n in (4, 8) if quantisation.get(f"load_in_{n}bit")), None)
    return f" to {bits} bits" if bits else ""


def _rotations(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every place of config.json that names a type of rotation, those by layer type too."""
    for part in (settings, settings.get("text_config") or {}):
        for key in ("rope_scaling", "rope_parameters"):
            whole = part.get(key)
            if isinstance(whole, dict):
                yield from [own for own in (whole, *whole.values()) if isinstance(own, dict) and own.keys() & TYPE_KEYS]


def _rotation_type(rotation: Mapping[str, Any]) -> Any:
    return rotation.get("rope_type", rotation.get("type"))


def _rename(rotation: dict[str, Any], aliases: Mapping[str, str], settings: Mapping[str, Any]) -> None:
    """Give a rotation its name of today, with the context length that its original code read elsewhere."""
    name = _rotation_type(rotation)
    if name in aliases:
        rotation.pop("type", None)
        rotation["rope_type"] = aliases[name]
        if "original_max_position_embeddings" in settings:
            rotation.setdefault("original_max_position_embeddings", settings["original_max_position_embeddings"])


def _require_rotation(folder: Path, rotation: Mapping[str, Any], kind: str) -> None:
    name = _rotation_type(rotation)
    # transformers reads 'yarn' of a Phi-3 as longrope, whose attention factor is not that of the model's own code.
    if name not in ROPE_TYPES or (kind == "phi3" and name not in ("default", "longrope")):
        known = ["default", "longrope", "su"] if kind == "phi3" else ROPE_TYPES
        raise UserError(
            f"{folder}/config.json scales its rotation by '{name}', which no model of type '{kind}' in transformers "
            f"does: it is one of {', '.join(known)}"
        )


def _require_causal(folder: Path, config: PreTrainedConfig) -> None:
    """Raise UserError unless the type is, in transformers, one of causal language models."""
    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(
            f"{folder} is a model with an encoder and a decoder (type '{kind}'): Triaxis takes causal language models, "
            "decoders alone"
        )
    if kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", True):
        raise UserError(
            f"{folder} is an encoder (type '{kind}'), whose tokens see later ones: Triaxis takes causal language models"
        )
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        text = config.get_text_config()
        inside = f"; its text model is of type '{text.model_type}': save that alone" if text is not config else ""
        raise UserError(
            f"{folder} is of type '{kind}', which transformers does not hold for a causal language model{inside or ''}"
        )
