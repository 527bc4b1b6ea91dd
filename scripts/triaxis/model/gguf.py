"""GGUF files to plain safetensors folders."""

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gguf
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from triaxis.base.errors import UserError
from triaxis.model.gguf_keys import read_settings
from triaxis.model.whole import loading, require_whole

UNQUANTISED = ("F64", "F32", "F16", "BF16")
ROTATION_TENSORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def dequantise(parts: Path | Sequence[Path], folder: Path) -> str | None:
    """Turn a GGUF file, or all parts of a split one, into a plain float32 safetensors folder with its configuration and
    tokenizer, whole or not at all; later loads then take a second. Returns how most weights were stored, `GGUF Q4_1`;
    None if in float.

    Raises UserError if transformers cannot read the file, if a part is missing, if tensors are missing, left over or of
    another shape, or if a key has no counterpart in transformers.
    """
    parts = [parts] if isinstance(parts, Path) else sorted(parts)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        whole = parts[0] if len(parts) == 1 else part / "joined.gguf"
        readers = [_read(file) for file in parts]
        _require_all_parts(parts, [fields_of(reader) for reader in readers])
        if len(parts) > 1:
            join(readers, whole)
        # A file's header takes seconds to read, and is read once.
        model = _load(whole, readers[0] if len(parts) == 1 else _read(whole), parts[0].name)
        try:
            tokenizer = AutoTokenizer.from_pretrained(whole.parent, gguf_file=whole.name)
        except Exception as error:  # whatever a foreign file makes transformers and tokenizers raise
            raise _unreadable(parts[0].name, error) from error
        # A GGUF model calls itself quantised and refuses to be saved, though its weights are plain by now.
        del model.config.quantization_config
        model.hf_quantizer = None  # type: ignore[assignment]
        whole.unlink() if len(parts) > 1 else None
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
    except UserError:
        shutil.rmtree(part)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return _quantisation(readers)


def _quantisation(readers: Iterable[gguf.GGUFReader]) -> str | None:
    weights: Counter[str] = Counter()
    for reader in readers:
        for tensor in reader.tensors:
            weights[tensor.tensor_type.name] += int(tensor.n_elements)
    kind = max(weights, key=weights.__getitem__)
    return None if kind in UNQUANTISED else f"GGUF {kind}"


def _unreadable(name: str, error: Exception) -> UserError:
    return UserError(f"transformers cannot read {name} ({error}): try the model's safetensors instead")


def _read(file: Path) -> gguf.GGUFReader:
    try:
        return gguf.GGUFReader(file)
    except Exception as error:  # whatever a foreign file makes the reader raise
        raise _unreadable(file.name, error) from error


def fields_of(reader: gguf.GGUFReader) -> dict[str, Any]:
    """key -> value of a file, but for a tokenizer's long lists."""
    long = ("tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.scores", "tokenizer.ggml.token_type")
    return {key: field.contents() for key, field in reader.fields.items() if key not in long}


def _require_all_parts(parts: Sequence[Path], fields: Sequence[dict[str, Any]]) -> None:
    """Raise UserError unless the files are all parts of one file, by the numbers that they hold, in order."""
    count = int(fields[0].get("split.count", 0)) or 1
    numbers = [int(own.get("split.no", 0)) for own in fields]
    if numbers != list(range(count)):
        absent = [str(number + 1) for number in range(count) if number not in numbers]
        fault = f"part {', '.join(absent)} is missing" if absent else "the numbers inside are not those of their names"
        raise UserError(
            f"{', '.join(part.name for part in parts)}: of the {count} parts of this GGUF file {fault}; keep the names "
            "that llama.cpp gave them, such as m-00001-of-00002.gguf, and put all beside one another"
        )


def join(readers: Sequence[gguf.GGUFReader], target: Path) -> None:
    """Write one GGUF file of all parts: the keys of the first and the tensors of each, as they are.

    Raises UserError if there are not as many tensors as the first part says.
    """
    first = readers[0]
    writer = gguf.GGUFWriter(target, first.fields["general.architecture"].contents())
    for key, field in first.fields.items():
        if key != "general.architecture" and not key.startswith(("GGUF.", "split.")):
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), field.types[0], sub_type=inner)
    tensors = [tensor for reader in readers for tensor in reader.tensors]
    stated = first.fields.get("split.tensors.count")
    if stated is not None and stated.contents() != len(tensors):
        raise UserError(f"the parts hold {len(tensors)} tensors, and say {stated.contents()}: fetch them again")
    for tensor in tensors:
        writer.add_tensor_info(
            tensor.name, tensor.data.shape, tensor.data.dtype, tensor.data.nbytes, raw_dtype=tensor.tensor_type
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in tensors:
        writer.write_tensor_data(tensor.data)
    writer.close()


def _load(file: Path, reader: gguf.GGUFReader, name: str) -> PreTrainedModel:
    """The float32 model of a GGUF file called `name`, its every key and tensor accounted for."""
    tensors = {tensor.name: tuple(map(int, reversed(tensor.shape))) for tensor in reader.tensors}
    factors = {
        tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type).reshape(-1)
        for tensor in reader.tensors
        if tensor.name in ROTATION_TENSORS
    }
    settings = read_settings(name, fields_of(reader), tensors, factors)
    kind = settings.pop("model_type")
    try:
        config = CONFIG_MAPPING[kind](**settings)
        _require_places(name, config, tensors, reader.fields["general.architecture"].contents())
        with loading(name, tensors):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                file.parent,
                gguf_file=file.name,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except UserError:
        raise
    except Exception as error:  # whatever a foreign file makes transformers raise
        raise _unreadable(name, error) from error
    model, report = loaded
    require_whole(name, report, {}, "its header")
    return model


def _require_places(name: str, config: Any, tensors: Iterable[str], architecture: str) -> None:
    """Raise UserError if the model has no place for a tensor of the file: transformers passes over it silently."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    kind = next(kind for kind, own in gguf.MODEL_ARCH_NAMES.items() if own == architecture)
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    places = {names.get_name(own, try_suffixes=(".weight", ".bias")) for own in model.state_dict()}
    for layer in range(config.num_hidden_layers if getattr(config, "num_experts", 0) else 0):
        places |= {f"blk.{layer}.ffn_{part}_exps.weight" for part in ("gate", "up", "down")}
    if extra := sorted(set(tensors) - places - set(ROTATION_TENSORS)):
        shown = ", ".join(extra[:3]) + (f" and {len(extra) - 3} more" if len(extra) > 3 else "")
        raise UserError(
            f"{name} holds {shown} beyond a model of type '{config.model_type}': nothing is left out; bring its "
            "safetensors"
        )
