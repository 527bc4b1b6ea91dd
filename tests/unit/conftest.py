"""Builders that several modules' tests share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from triaxis.logits.logits import CausalCells, writer
from unit import families

torch.set_num_threads(1)  # tiny tensors only wait for one another


@pytest.fixture
def build_model() -> Callable[..., PreTrainedModel]:
    """families.build: a tiny model of a family, whose every weight is random."""
    return families.build


@pytest.fixture
def write_logits() -> Callable[..., Path]:
    """Write a file of logits/ from matrices (sequences, layers, heads, length, length)."""

    def write(path: Path, matrices: np.ndarray, first: int = 0) -> Path:
        _, _, heads, length, _ = matrices.shape
        cells = CausalCells(list(range(heads)), length)
        with writer(path, {"model": "tiny"}) as out:
            for sequence, layers in enumerate(matrices.astype(np.float32), first):
                for layer, values in enumerate(layers):
                    table = cells.table(sequence, layer, values)
                    out.write_table(table, row_group_size=len(table))
        return path

    return write
