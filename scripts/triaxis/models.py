"""Models from a verified folder or a GGUF file, with weights as trained or drawn afresh."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers
from accelerate import dispatch_model, infer_auto_device_map
from accelerate.utils import get_balanced_memory
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import MoeModelOutputWithPast

from triaxis import provenance, sources
from triaxis.faults import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str) -> torch.device | None:
    """auto: CUDA if there is one, else MPS, else the CPU; spread: None, the model's layers over all of them.
    Raises UserError for a device that is not there."""
    if name == "spread":
        return None
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    present = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[device.type]
    if (device.index or 0) >= present:
        raise UserError(
            f"features.device '{name}' is not on this machine ({present} {device.type} devices); try 'auto'"
        )
    return device


def describe_device(device: torch.device | None) -> str:
    """The names of the devices that a model on `device` uses, as a file's metadata state them."""
    if device is None and torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    if device is None:
        return "cpu"
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def dequantise(gguf: Path, folder: Path) -> None:
    """Turn a GGUF file into a plain float32 safetensors folder with its configuration and tokenizer, whole or not
    at all; later loads then take a second. Raises UserError if transformers cannot read the file."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except Exception as error:  # whatever a foreign file makes transformers and tokenizers raise
        raise UserError(
            f"transformers cannot read {gguf.name} ({error}): try the model's safetensors instead"
        ) from error
    # A GGUF model calls itself quantised and refuses to be saved, though its weights are plain by now.
    del model.config.quantization_config
    model.hf_quantizer = None  # type: ignore[assignment]
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder. Raises UserError if there is none that needs no code of its own."""
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError) as error:
        raise UserError(f"no tokenizer can be loaded from {folder}: {error}") from error


def free_memory(device: torch.device | None) -> int:
    """Bytes that weights may fill: free on the GPU, or available to this process, its control group counted; for
    None, on all GPUs and the CPU together."""
    if device is None:
        gpus = [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
        return sum(map(free_memory, [*gpus, torch.device("cpu")]))
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    available = psutil.virtual_memory().available
    try:
        group = Path("/sys/fs/cgroup", Path("/proc/self/cgroup").read_text().strip().rpartition("::/")[2])
        limit, used = ((group / f"memory.{name}").read_text() for name in ("max", "current"))
        return min(available, int(limit) - int(used))
    except (OSError, ValueError):  # no control group, or one without a limit
        return available


def require_memory(config: PreTrainedConfig, dtype: torch.dtype, device: torch.device | None) -> None:
    """Raise UserError, before anything is loaded, if the weights of such a model do not fit on the device."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    need = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    if need > (free := free_memory(device)):
        raise UserError(
            f"a model of type '{config.model_type}' needs {need / 2**30:.1f} GiB for its weights in "
            f"{str(dtype).removeprefix('torch.')}, and {device or 'the sum of all devices'} has {free / 2**30:.1f} GiB "
            "free: take a machine with more, features.device spread, or features.dtype bfloat16"
        )


@dataclass(frozen=True)
class Stretch:
    """A scaling of RoPE that transformers knows, 'yarn', 'linear' or 'dynamic', of a model trained on
    `training_length` tokens, by `factor`."""

    kind: str
    factor: float
    training_length: int

    def apply(self, config: Any) -> None:
        """Change a model's configuration. Raises UserError if it scales its RoPE already, or has none."""
        text = config.get_text_config()
        parameters = getattr(text, "rope_parameters", None)
        if not parameters:
            raise UserError(f"a model of type '{text.model_type}' has no RoPE that '{self.kind}' could stretch")
        nested = [part for name, part in parameters.items() if isinstance(part, dict) and name != "sliding_attention"]
        for own in nested or [parameters]:
            if own.get("rope_type", "default") != "default":
                raise UserError(
                    f"this model scales its RoPE already ('{own['rope_type']}'), so '{self.kind}' cannot: leave that "
                    "method out for it"
                )
            own |= {"rope_type": self.kind, "factor": float(self.factor)}
            own["original_max_position_embeddings"] = self.training_length
        # Dynamic scaling counts from this length; of the other two it is how far they reach.
        reach = self.training_length if self.kind == "dynamic" else round(self.factor * self.training_length)
        text.max_position_embeddings = reach


def training_length_of(config: Any) -> int:
    """How many tokens a model's configuration says that it was trained on at once.

    Raises UserError if it does not say.
    """
    text = config.get_text_config()
    parameters = getattr(text, "rope_parameters", None) or {}
    length = parameters.get("original_max_position_embeddings") or getattr(text, "max_position_embeddings", None)
    if not length:
        raise UserError(
            f"a model of type '{text.model_type}' does not say its training length: set length.training_length"
        )
    return int(length)


def load_model(
    folder: str | Path,
    dtype: str,
    device: torch.device | None,
    random_seed: int | None = None,
    *,
    attention: str | None = None,
    stretch: Stretch | None = None,
) -> PreTrainedModel:
    """A causal language model in evaluation mode; with `random_seed`, the same architecture with fresh weights; with
    `stretch`, its RoPE scaled.

    device: None spreads whole layers over the GPUs, and over the CPU what they cannot hold (accelerate). attention:
    the implementation that transformers is to use, None for its own choice. Raises UserError if the folder's model
    needs code of its own, is unknown to transformers, is not safetensors, or is larger than memory.
    """
    options = {"dtype": DTYPES[dtype], "attn_implementation": attention, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if stretch is not None:
            stretch.apply(config)
        require_memory(config, DTYPES[dtype], device)
        if random_seed is None:
            place = None if device else "auto"
            model = AutoModelForCausalLM.from_pretrained(
                folder, config=config, device_map=place, local_files_only=True, use_safetensors=True, **options
            )
        else:
            torch.manual_seed(random_seed)
            model = AutoModelForCausalLM.from_config(config, **options)
    except (ValueError, OSError, SafetensorError) as error:
        raise UserError(f"no model can be loaded from {folder}: {error}") from error
    if device is None:
        return (model if random_seed is None else spread(model)).eval()
    return model.to(device).eval()  # type: ignore[arg-type]


def open_model(
    record: str | Path, options: Mapping[str, Any], random_seed: int | None, attention: str | None = None
) -> PreTrainedModel:
    """The model of a record that fetch_model wrote, its files verified; options: `device` and `dtype` of `features`.

    Raises UserError as `sources.verify`, `choose_device` and `load_model` do.
    """
    fetched = json.loads(Path(record).read_text())
    sources.verify(fetched)
    return load_model(
        fetched["folder"], options["dtype"], choose_device(options["device"]), random_seed, attention=attention
    )


def revision_of(upstream: Mapping[str, str], random_seed: int | None) -> str:
    """The revision that `upstream` metadata name, with the seed of weights that are not its own."""
    return upstream["revision"] + ("" if random_seed is None else f" random weights, seed {random_seed}")


def describe_run(params: Mapping[str, Any], options: Mapping[str, Any], upstream: Mapping[str, str]) -> dict[str, str]:
    """The key-value metadata of a file that a model made in a run.

    params: the rule's, `random_seed` among them; options: as for `open_model`; upstream: of the file that it read.
    """
    own = dict(upstream) | {"revision": revision_of(upstream, params["random_seed"])}
    return provenance.describe(params, own) | {
        "device": describe_device(choose_device(options["device"])),
        "dtype": options["dtype"],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def predict(model: PreTrainedModel, last: torch.Tensor) -> torch.Tensor:
    """Last hidden states (batch, length, size) -> the model's logits (batch, length, vocabulary): its head alone."""
    # The output of a mixture of experts, which has what any head reads.
    base = model.base_model
    base.forward = lambda *args, **options: MoeModelOutputWithPast(last_hidden_state=last)
    try:
        return model(input_ids=torch.zeros(last.shape[:2], dtype=torch.long, device=last.device)).logits
    finally:
        del base.forward


def spread(model: PreTrainedModel) -> PreTrainedModel:
    """Move a model's layers to the devices that have room for them, no layer to two."""
    whole_layers = sorted(model._no_split_modules or [])
    model.tie_weights()
    room = get_balanced_memory(model, no_split_module_classes=whole_layers)
    return dispatch_model(model, infer_auto_device_map(model, room, no_split_module_classes=whole_layers))
