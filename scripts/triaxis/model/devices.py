"""The device that a model runs on, or several."""

import torch
from accelerate import dispatch_model, infer_auto_device_map
from accelerate.utils import get_balanced_memory
from transformers import PreTrainedModel

from triaxis.base.errors import UserError


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
        raise UserError(f"run.device '{name}' is not on this machine ({present} {device.type} devices); try 'auto'")
    return device


def describe_device(device: torch.device | None) -> str:
    """The names of the devices that a model on `device` uses, as a file's metadata state them."""
    if device is None and torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    if device is None:
        return "cpu"
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def spread_layers(model: PreTrainedModel) -> PreTrainedModel:
    """Move a model's layers to the devices that have room for them, no layer to two."""
    whole_layers = sorted(model._no_split_modules or [])
    model.tie_weights()
    room = get_balanced_memory(model, no_split_module_classes=whole_layers)
    return dispatch_model(model, infer_auto_device_map(model, room, no_split_module_classes=whole_layers))
