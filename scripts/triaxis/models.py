"""Models from a verified folder or a GGUF file, with weights as trained or drawn afresh."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from triaxis.faults import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str) -> torch.device:
    """auto: CUDA if there is one, else MPS, else the CPU. Raises UserError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    present = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[device.type]
    if (device.index or 0) >= present:
        raise UserError(
            f"features.device '{name}' is not on this machine ({present} {device.type} devices); try 'auto'"
        )
    return device


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
    device: torch.device,
    random_seed: int | None = None,
    stretch: Stretch | None = None,
) -> PreTrainedModel:
    """A causal language model in evaluation mode; with `random_seed`, the same architecture with fresh weights; with
    `stretch`, its RoPE scaled.

    Raises UserError if the folder's model needs code of its own, is unknown to transformers, or is not safetensors.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if stretch is not None:
            stretch.apply(config)
        if random_seed is None:
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=DTYPES[dtype],
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
            )
        else:
            torch.manual_seed(random_seed)
            model = AutoModelForCausalLM.from_config(config, dtype=DTYPES[dtype], trust_remote_code=False)
    except (ValueError, OSError, SafetensorError) as error:
        raise UserError(f"no model can be loaded from {folder}: {error}") from error
    return model.to(device).eval()  # type: ignore[arg-type]
