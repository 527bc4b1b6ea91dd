"""How a layer rotates, found by probing it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from triaxis.attention.replay import INSTEAD, Recorder, attention_function, attention_modules, before_attention
from triaxis.attention.rope import Rotary
from triaxis.base.errors import UserError

Tensor = torch.Tensor

PROBE_LENGTH = 8


@dataclass(frozen=True)
class Layout:
    """How one layer's rotation moves the n dimensions that it turns; n = 0 for a NoPE layer.

    rotated[dimension] = x[dimension] * cos[column] + sign * x[partner] * sin[column]; all (n,) int64.
    head_dim: of its queries and keys.
    """

    head_dim: int
    dimension: Tensor
    partner: Tensor
    sign: Tensor
    column: Tensor

    def rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x (batch, heads, length, head_dim) before rotation -> after it; cos, sin: (batch, length, columns)."""
        if not len(self.dimension):
            return x
        column, partner = self.column.to(x.device), self.partner.to(x.device)
        cos = cos.index_select(-1, column)[:, None]
        sin = (sin.index_select(-1, column) * self.sign.to(sin))[:, None]
        if len(self.dimension) == x.shape[-1]:
            return (x * cos).add_(x.index_select(-1, partner).mul_(sin))
        dimension = self.dimension.to(x.device)
        turned = (x.index_select(-1, dimension) * cos).add_(x.index_select(-1, partner).mul_(sin))
        return x.index_copy(-1, dimension, turned.to(x.dtype))


@torch.inference_mode()
def probe_layouts(model: PreTrainedModel) -> dict[int, Layout]:
    """Layer -> how it rotates, found by replaying each attention module under rotations of our choice.

    cos 1, sin 0 gives the vectors before rotation; cos 0, sin 1 gives each dimension's partner and sign; cos 1 or
    2, by the bits of the column number, gives the column of cos that each dimension reads. Raises UserError if
    the model refuses capture, if a query or key is not finite or if a layer's rotation is not made of planar ones.
    """
    recorder, layouts = Recorder(), {}

    def before_each(layer: int, module: torch.nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        if not isinstance(kwargs.get("position_embeddings"), tuple):
            raise UserError(
                f"a model of type '{model.config.model_type}' refuses capture: no (cos, sin) at layer {layer}"
            )
        cos, sin = kwargs["position_embeddings"]

        def ask(cos: Tensor, sin: Tensor) -> Tensor:
            query, key = recorder.replay(module, args, kwargs, cos, sin)
            return torch.cat([query, key], dim=1).flatten(0, 2).T  # (head_dim, vectors)

        one, zero = torch.ones_like(cos), torch.zeros_like(sin)
        layout = _layout(ask, one, zero)
        expected = torch.cat(recorder.replay(module, args, kwargs, one, zero), dim=1)
        live = torch.cat(recorder.replay(module, args, kwargs, cos, sin), dim=1)
        require_finite(layer, live)
        error = (layout.rotate(expected, cos, sin) - live).abs().max() / live.abs().max().clamp_min(1e-9)
        if not error <= 8 * torch.finfo(live.dtype).eps:
            raise UserError(
                f"a model of type '{model.config.model_type}' refuses capture: what layer {layer} does to queries and "
                f"keys is not a rotation of pairs of dimensions (off by {error:.1e})"
            )
        layouts[layer] = layout
        return args, kwargs

    def function(own, module, query, key, value, mask, scaling, **options):  # type: ignore[no-untyped-def]
        if recorder.active:
            return recorder.take(query, key, value, scaling)
        return own(module, query, key, value, mask, scaling=scaling, **options)

    # Token ids that differ, so that no two dimensions agree by accident.
    tokens = torch.arange(1, PROBE_LENGTH + 1, device=model.device)[None] % model.config.get_text_config().vocab_size
    with attention_function(model, function), before_attention(model, before_each):
        model.base_model(input_ids=tokens, use_cache=False)
    if layers := set(attention_modules(model)) - set(layouts):
        raise UserError(
            f"a model of type '{model.config.model_type}' refuses capture: layers {sorted(layers)} never ran"
        )
    if not any(len(layout.dimension) for layout in layouts.values()):
        raise UserError(f"a model of type '{model.config.model_type}' rotates nothing; {INSTEAD}")
    if len({layout.head_dim for layout in layouts.values()}) > 1:
        raise UserError(
            f"a model of type '{model.config.model_type}' has heads of several sizes: choose another family"
        )
    return layouts


def require_finite(layer: int, *vectors: Tensor) -> None:
    """Raise UserError, naming the layer, if a query or key is NaN or infinite."""
    if not all(bool(x.isfinite().all()) for x in vectors):
        raise UserError(
            f"layer {layer}: queries or keys are NaN or infinite; try run.dtype float32, or look at the model's weights"
        )


def _layout(ask: Callable[[Tensor, Tensor], Tensor], one: Tensor, zero: Tensor) -> Layout:
    """The layout of one layer. ask(cos, sin): (head_dim, vectors) under that rotation; one, zero: tables."""
    plain, turned = ask(one, zero), ask(zero, one)
    moved = (plain != turned).any(dim=1).nonzero().flatten()
    same = (turned[moved, None] == plain[None]).all(-1)
    opposite = (turned[moved, None] == -plain[None]).all(-1)
    partner = (same | opposite).int().argmax(-1)
    sign = torch.where(opposite[torch.arange(len(moved)), partner], -1, 1)
    column = torch.zeros_like(moved)
    for bit in range(int(one.shape[-1] - 1).bit_length()):
        digit = (torch.arange(one.shape[-1], device=one.device) >> bit) & 1
        doubled = ask(one * (1 + digit).to(one), zero)
        column += (doubled[moved] != plain[moved]).any(dim=1).long() << bit
    return Layout(len(plain), moved.cpu(), partner.cpu(), sign.cpu(), column.cpu())


def measure_rotary(layout: Layout, cos: Tensor, sin: Tensor, scaling: float) -> Rotary:
    """The frequencies that a layer's live tables hold: angle of pair m at position p = frequency_m * p.

    cos, sin: (length, columns) at positions 0, 1, ... in the model's dtype. Each frequency is read at position 1
    and refined at 2, 4, 8, ..., which undoes wrapping and leaves an error near eps / length. `scaling` is the
    model's attention scaling. Raises UserError if the angles are not proportional to position.
    """
    negative = layout.sign < 0
    real, imaginary = layout.dimension[negative], layout.partner[negative]
    column = layout.column[negative]
    table = cos.double().cpu()[:, column].numpy() + 1j * sin.double().cpu()[:, column].numpy()  # (length, pairs)
    amplitude = float(np.abs(table).mean()) if table.size else 1.0
    angle, frequency, position = np.angle(table), np.zeros(table.shape[1]), 1
    while position < len(angle):
        turns = np.round((frequency * position - angle[position]) / (2 * np.pi))
        frequency = (angle[position] + 2 * np.pi * turns) / position
        position *= 2
    drift = table - amplitude * np.exp(1j * np.multiply.outer(np.arange(len(table)), frequency))
    # A table in half precision is that much coarser: what is refused is a table of another shape.
    if table.size and np.abs(drift).max() > max(1e-2, 4 * torch.finfo(cos.dtype).eps):
        raise UserError("the rotation angles of this model are not proportional to position: Triaxis needs plain RoPE")
    turned = set(layout.dimension.tolist())
    unrotated = np.array([i for i in range(layout.head_dim) if i not in turned], dtype=np.int64)
    return Rotary(float(scaling), amplitude, real.numpy(), imaginary.numpy(), frequency, unrotated)
