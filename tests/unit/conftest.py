"""Builders that several modules' tests share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import cpu_offload, dispatch_model
from transformers import PreTrainedModel

from triaxis.logits.logits import CausalCells, writer
from unit import families

torch.set_num_threads(1)  # tiny tensors only wait for one another


@pytest.fixture
def build_model() -> Callable[..., PreTrainedModel]:
    """families.build: a tiny model of a family, whose every weight is random."""
    return families.build


@pytest.fixture(params=["on blocks", "on the base model", "that bring the weights"])
def hooked(request: pytest.FixtureRequest) -> Callable[[PreTrainedModel], PreTrainedModel]:
    """Put accelerate's hooks on a model, as `device: spread` does on several devices: all of them here the CPU."""

    def hook(model: PreTrainedModel) -> PreTrainedModel:
        base = model.base_model
        if request.param == "that bring the weights":
            for block in base.layers:
                cpu_offload(block, torch.device("cpu"))  # no module of it has weights of its own between two calls
            return model
        parts = [module for module in model.children() if module is not base]
        if request.param == "on blocks":
            parts += [*base.layers, *(module for module in base.children() if module is not base.layers)]
        else:
            parts.append(base)
        names = {module: name for name, module in model.named_modules()}
        return dispatch_model(model, {names[part]: "cpu" for part in parts}, force_hooks=True)

    return hook


@pytest.fixture
def state_of() -> Callable[[PreTrainedModel], dict[str, list[object]]]:
    """What others put on each module of a model, to be the same before and after: its own forward, its hooks."""

    def state(model: PreTrainedModel) -> dict[str, list[object]]:
        names = ("forward", "_old_forward", "_hf_hook")
        return {
            name: [
                *(vars(module).get(own) for own in names),
                *module._forward_hooks.values(),
                *module._forward_pre_hooks.values(),
            ]
            for name, module in model.named_modules()
        }

    return state


@pytest.fixture
def write_logits() -> Callable[..., Path]:
    """Write a file of logits/ from matrices (sequences, layers, heads, length, length)."""

    def write(path: Path, matrices: np.ndarray, first: int = 0) -> Path:
        _, _, heads, length, _ = matrices.shape
        cells = CausalCells(list(range(heads)), np.arange(length))
        with writer(path, {"model": "tiny"}) as out:
            for sequence, layers in enumerate(matrices.astype(np.float32), first):
                for layer, values in enumerate(layers):
                    table = cells.table(sequence, layer, values)
                    out.write_table(table, row_group_size=len(table))
        return path

    return write
