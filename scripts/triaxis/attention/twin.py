"""A twin of an attention module: its code and settings, with drawn weights and inputs.

What a rotation does to a dimension shows in that dimension's values. Published weights may hide it: a norm's factor of
exactly 0 leaves a dimension without any. A twin's values are all there, and the same for every model.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch

Tensor = torch.Tensor


class Draws:
    """Seeded random tensors on the CPU, by name and shape. Layers of a kind share them: one layer's are held."""

    def __init__(self) -> None:
        self._held: dict[tuple[Any, ...], Tensor] = {}

    def like(self, name: str, tensor: Tensor) -> Tensor:
        """Values of the shape and type of `tensor`: no vector among them has a 0, no matrix or vector a -1, since some
        norms multiply by 1 + weight."""
        key = (name, tensor.shape, tensor.dtype)
        if key not in self._held:
            values = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(len(self._held)))
            values = values + 0.5 if tensor.ndim < 2 else (values - 0.5) * tensor.shape[-1] ** -0.5
            self._held[key] = values.to(tensor.dtype)
        return self._held[key]


def twin_of(module: torch.nn.Module, draws: Draws) -> torch.nn.Module:
    """A copy of `module` on the CPU whose parameters are drawn; its own are never copied.

    What another library put in place of a `forward` (the hooks of accelerate, which would bring a module's own weights
    back) stays behind.
    """
    stand_ins: dict[int, Any] = {
        id(parameter): torch.nn.Parameter(draws.like(name, parameter), requires_grad=False)
        for name, parameter in module.named_parameters()
        if parameter.is_floating_point()
    }
    # A hook may hold the weights of the whole model.
    stand_ins |= {id(hook): None for part in module.modules() if (hook := vars(part).get("_hf_hook")) is not None}
    twin = copy.deepcopy(module, stand_ins)
    for part in twin.modules():
        vars(part).pop("forward", None)
    return twin.cpu()


def inputs_of(args: tuple[Any, ...], kwargs: Mapping[str, Any], draws: Draws) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a module for its twin: on the CPU, every tensor of floats drawn."""

    def drawn(name: str, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return draws.like(name, value) if value.is_floating_point() else value.cpu()

    return tuple(drawn(str(n), value) for n, value in enumerate(args)), {
        name: drawn(name, value) for name, value in kwargs.items()
    }
