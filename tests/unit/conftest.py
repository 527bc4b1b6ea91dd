"""Builders that several modules' tests share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from triaxis.logits import CausalCells, writer

torch.set_num_threads(1)  # tiny tensors only wait for one another

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


@pytest.fixture
def build_model() -> Callable[..., PreTrainedModel]:
    """A tiny model of a family, in evaluation mode, whose every weight (norms, biases and sinks too) is random."""

    def build(family: str, **settings) -> PreTrainedModel:
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **(SIZES | settings))).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight += (0.3 if weight.ndim == 1 else 0.1) * torch.randn_like(weight)
        return model

    return build


@pytest.fixture
def write_logits() -> Callable[..., Path]:
    """Write a file of logits/ from matrices (sequences, layers, heads, length, length)."""

    def write(path: Path, matrices: np.ndarray, first: int = 0) -> Path:
        _, _, heads, length, _ = matrices.shape
        cells = CausalCells(list(range(heads)), length)
        with writer(path, {"model": "tiny"}) as parquet:
            for sequence, layers in enumerate(matrices.astype(np.float32), first):
                for layer, values in enumerate(layers):
                    table = cells.table(sequence, layer, values)
                    parquet.write_table(table, row_group_size=len(table))
        return path

    return write
