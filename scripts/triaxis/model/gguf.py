"""GGUF files to plain safetensors folders."""

import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from triaxis.base.errors import UserError


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
