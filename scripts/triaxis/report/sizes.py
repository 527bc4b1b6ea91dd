"""Sizes of the models of a configuration, from what says them alone: no weight is loaded, or fetched from a hub."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from triaxis.base.checkpoints import TRAIN, measured_models, with_weights
from triaxis.base.errors import UserError
from triaxis.base.names import entry_of
from triaxis.base.source_text import parse_source
from triaxis.model.published import read_config
from triaxis.text.sources import fetch_hub_config, fetch_model_files, read_lock
from triaxis.training.architecture import make_config

# Entries of a tokenizer of plain bytes: these, and the end of a text.
BYTES = 257


@dataclass(frozen=True)
class Size:
    """A model's layers, query heads, key heads, dimensions of a head, pairs that RoPE turns, width and parameters."""

    layers: int
    heads: int
    key_heads: int
    head_dim: int
    pairs: int
    width: int
    parameters: int


def size_of(config: PreTrainedConfig) -> Size:
    """The sizes of a model from its configuration alone: no weight is loaded or made."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    text = config.get_text_config()
    heads = text.num_attention_heads
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // heads
    partial = (getattr(text, "rope_parameters", None) or {}).get("partial_rotary_factor") or 1
    return Size(
        layers=text.num_hidden_layers,
        heads=heads,
        key_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=head_dim,
        pairs=int(head_dim * partial) // 2,
        width=text.hidden_size,
        parameters=sum(weight.numel() for weight in model.parameters()),
    )


def sizes_of(config: Mapping[str, Any]) -> dict[str, Size]:
    """The size of every measured model, controls too. Raises UserError, which names the model, where it has none."""
    lock = read_lock(config["lock"]) if config["lock"] else None
    own = {}
    for name, entry in config["models"].items():
        try:
            own[name] = size_of(_trained(entry) if entry["source"] == TRAIN else _published(name, entry, lock))
        except UserError as error:
            raise UserError(f"models.{name}: {error}") from None
    return {model: own[entry_of(model)] for model in measured_models(config["models"])}


def _trained(entry: Mapping[str, Any]) -> PreTrainedConfig:
    """The configuration of a model that is trained here."""
    options = entry["training"]
    return make_config(options["architecture"], options["length"], options["vocabulary"] or BYTES)


def _published(name: str, entry: Mapping[str, Any], lock: Mapping[str, str] | None) -> PreTrainedConfig:
    """The configuration of an entry's first model: that of a run that had it, a hub's config.json alone, a folder's, or
    what the header of a GGUF file says."""
    base, first = next(iter(with_weights({name: entry}).items()))
    listed = [first["source"]] if isinstance(first["source"], str) else first["source"]
    if folder := _fetched(base, listed):
        return read_config(folder)
    source = parse_source(listed[0])
    with TemporaryDirectory() as place:
        if source.kind == "hub":
            return read_config(fetch_hub_config(source, lock, place))
        if source.kind == "path" and Path(source.path).is_dir():
            return read_config(source.path)
        record = fetch_model_files([parse_source(text) for text in listed], first["sha256"], None, place)
        file, *_ = sorted(record["files"])
        return AutoConfig.from_pretrained(record["folder"], gguf_file=file)


def _fetched(base: str, listed: Sequence[str]) -> str | None:
    """The folder of a model of these sources, if a run in this folder has fetched it."""
    record = Path(f"resources/models/{base}.json")
    if not record.is_file():
        return None
    found = json.loads(record.read_text())
    here = found["source"] == ", ".join(listed) and Path(found["folder"], "config.json").is_file()
    return found["folder"] if here else None
