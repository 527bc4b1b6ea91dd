"""Whether a model's weights are its files': none missing, none left over, none of another shape.

transformers draws what is missing afresh, without a seed, and drops what is left over. Its loading report says so.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from triaxis.base.errors import UserError

# What torch.compile, data parallelism and adapters put before the names of a model that they wrap.
WRAPPERS = ("_orig_mod.", "module.", "base_model.model.")
# Left over and harmless: tables of rotation (see require_tables) and masks, which older models saved and newer ones
# make themselves. What a class in transformers names as no part of its forward pass (next-token modules, say) never
# gets into the report.
ROTATION_TABLE = re.compile(r"(^|\.)\w*(rot|rope)\w*\.inv_freq$")
MASK = re.compile(r"(^|\.)(attn|attention)\.(masked_)?bias$")


def shard_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers reads: model.safetensors, else those that its index names.

    Raises UserError if there are none, or one that the index names is not there.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise UserError(f"no model can be loaded from {folder}: it has no model.safetensors and no index of shards")
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{index} is no index of shards ({error!r}): fetch it again") from error
    if absent := [name for name in names if not (folder / name).is_file()]:
        raise UserError(f"{folder} lacks {_some(absent)}, which its index names: fetch them too")
    return [folder / name for name in names]


def read_headers(folder: str | Path) -> dict[str, torch.Tensor]:
    """name -> a tensor without values (device meta) of its type and shape, from the headers of a folder's weights.

    Raises UserError if there are no safetensors weights, or a file is damaged.
    """
    tensors: dict[str, torch.Tensor] = {}
    for file in shard_files(Path(folder)):
        try:
            with safe_open(file, "pt") as weights:
                for name in weights.keys():  # noqa: SIM118 - not a mapping
                    part = weights.get_slice(name)
                    dtype = getattr(torch, _TYPES.get(part.get_dtype(), "uint8"))
                    tensors[name] = torch.empty(part.get_shape(), dtype=dtype, device="meta")
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file} is no safetensors file, or a damaged one ({error}): fetch it again") from error
    return tensors


_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def check_headers(folder: str | Path, config: PreTrainedConfig) -> None:
    """Raise UserError unless the tensors that a folder's headers name are exactly those of the model of `config`.

    No weight is read: transformers loads tensors without values into a model without values.
    """
    headers = read_headers(folder)
    report = _report(folder, config, headers)
    if report["missing_keys"]:
        for prefix in _prefixes(headers):
            own = {name.removeprefix(prefix): tensor for name, tensor in headers.items()}
            if not _faults(_report(folder, config, own), own):
                raise UserError(
                    f"{folder} lacks {_some(sorted(report['missing_keys']))} of the model that config.json describes: "
                    f"its {len(headers)} tensors all begin with {prefix!r}, and fit without it; save them again so"
                )
    require_whole(folder, report, headers)


def _report(folder: str | Path, config: PreTrainedConfig, headers: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """What transformers' loading says of tensors without values."""
    model_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    # As AutoModelForCausalLM does for a text model that is published inside a larger one.
    if model_class.config_class is config.sub_configs.get("text_config"):
        config = config.get_text_config()
    with loading(folder, headers):
        _, report = model_class.from_pretrained(
            None,
            config=config,
            state_dict=dict(headers),
            device_map={"": "meta"},
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    return report


def _prefixes(names: Iterable[str]) -> list[str]:
    """What all names begin with: a known wrapper's prefix first, then the names' own up to each dot of it."""
    columns = zip(*(name.split(".") for name in names), strict=False)
    parts = [column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns)]
    common = [".".join(parts[:number]) + "." for number in range(1, len(parts) + 1)]
    return [prefix for prefix in WRAPPERS if prefix in common] + common


@contextmanager
def loading(folder: str | Path, names: Iterable[str]) -> Iterator[None]:
    """While transformers loads: no table of many lines, and one line for tensors that it cannot convert."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    except RuntimeError as error:
        if "conversion of the weights" not in str(error):
            raise
        raise UserError(
            f"the {len(set(names))} tensors of {folder} cannot be put together into the model that config.json "
            "describes (experts of different shapes, or too few of them): fetch it again, or correct config.json"
        ) from error
    finally:
        transformers.logging.set_verbosity(before)


def require_whole(
    place: str | Path, report: Mapping[str, Any], held: Mapping[str, torch.Tensor], described_by: str = "config.json"
) -> None:
    """Raise UserError unless transformers' loading report names nothing missing, left over, or of another shape.

    held: the files' tensors, by the files' names. described_by: what says which tensors there must be. Not missing are
    a model's own buffers that no file holds, and a weight that config.json ties to one that is there (the head to the
    embedding): transformers counts neither.
    """
    if fault := _faults(report, held):
        raise UserError(f"{place} {fault}".replace("config.json", described_by))


def require_tables(folder: str | Path, model: PreTrainedModel, held: Iterable[str]) -> None:
    """Raise UserError if an unscaled model turns otherwise than a table of rotation that was saved with its weights.

    Old models read such a table back; today's make it from config.json. Saved in half precision, it is that coarse.
    """
    saved = {name for name in held if ROTATION_TABLE.search(name)}
    rotation = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    tables = [own for name, own in model.named_buffers() if name.endswith("inv_freq") and "original" not in name]
    if not saved or rotation.get("rope_type", "default") != "default":
        return
    for file in shard_files(Path(folder)):
        with safe_open(file, "pt") as weights:
            for name in saved & set(weights.keys()):
                own = weights.get_tensor(name).float()
                if not any(
                    own.shape == table.shape and torch.allclose(own, table.cpu(), rtol=0.01) for table in tables
                ):
                    raise UserError(
                        f"{folder} holds a table of rotation, {name}, that is not the one config.json describes "
                        f"(rope_theta {rotation.get('rope_theta')}): correct config.json"
                    )


def _faults(report: Mapping[str, Any], held: Mapping[str, torch.Tensor]) -> str:
    """What is wrong by a loading report, as the rest of a sentence; "" for nothing."""
    missing = sorted(report["missing_keys"])
    extra = sorted(name for name in report["unexpected_keys"] if not _harmless(name, held))
    if scaleless := sorted(name for name in held if not _scaled(name, held)):
        return f"lacks the scales of {_some(scaleless)}, whose values mean nothing without: fetch the files again"
    if report["mismatched_keys"]:
        name, found, expected = min(report["mismatched_keys"])
        return (
            f"holds {name} in the shape {list(found)}, where config.json describes {list(expected)} "
            f"({len(report['mismatched_keys'])} of such tensors): fetch the files again, or correct config.json"
        )
    if missing:
        beyond = f", and holds {_some(extra)} beyond it" if extra else ""
        return (
            f"lacks {_some(missing)} of the model that config.json describes{beyond}: nothing is filled in; fetch the "
            "files again, or correct config.json"
        )
    if extra:
        return (
            f"holds {_some(extra)} beyond the model that config.json describes: nothing is left out; correct "
            "config.json, or save the language model alone"
        )
    return ""


def _harmless(name: str, held: Mapping[str, torch.Tensor]) -> bool:
    """Whether a tensor that the model has no place for is a saved table of rotation, or a mask."""
    if ROTATION_TABLE.search(name):
        return True
    tensor = next((held[own] for own in held if own == name or name.endswith(f".{own}")), None)
    if not MASK.search(name) or tensor is None:
        return False
    return tensor.numel() == 1 or (tensor.ndim == 4 and tensor.shape[-1] == tensor.shape[-2])


def _scaled(name: str, held: Mapping[str, torch.Tensor]) -> bool:
    """Whether a tensor of 8 bits, or of blocks of 4, has its scales beside it."""
    if name.endswith("_blocks"):
        return name.removesuffix("_blocks") + "_scales" in held
    return "float8" not in str(held[name].dtype) or f"{name}_scale_inv" in held


def _some(names: list[str]) -> str:
    """The names, or how many there are and the first of them."""
    kind = "files" if names[0].endswith(".safetensors") else "tensors"
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} {kind} ({', '.join(names[:3])}, ...)"
