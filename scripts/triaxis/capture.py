"""Queries and keys before rotation, from any RoPE model of transformers, in the model's own forward pass.

Each attention module is given the identity rotation (cos 1, sin 0), so that its attention function receives the
queries and keys as they are before RoPE, whatever their layout, norms or fused projections. That function, ours,
shows them to an observer, rotates them as the model would have, bit for bit, and hands them to the model's own
attention. How a layer rotates (which dimensions pair up, with which column of cos and sin) is found by probing
it. The attention function is where every experiment on attention enters: see `Call`.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from triaxis.faults import UserError
from triaxis.rope import Rotary

NAME = "triaxis"
Tensor = torch.Tensor
PROBE_LENGTH = 8
INSTEAD = "the three-axis fit alone needs no rotation: set capture: logits in its entry of models"


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


@dataclass(frozen=True)
class Call:
    """One layer's attention, before rotation: what an experiment may look at, and may replace.

    query (batch, heads, length, head_dim), key and value (batch, key heads, length, ...), cos and sin (batch,
    length, columns); mask as the model's own attention takes it (None: causal).
    """

    layer: int
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scaling: float
    cos: Tensor
    sin: Tensor
    layout: Layout
    _own: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor | None]]
    _options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def window(self) -> int | None:
        """How many of the last keys, its own among them, a query of this layer sees; None: all."""
        return self._options.get("sliding_window")

    @property
    def softcap(self) -> float | None:
        """c, if logits w reach the softmax as c tanh(w / c)."""
        return self._options.get("softcap")

    @property
    def sinks(self) -> Tensor | None:
        """(heads,): a logit that each head adds to its softmax without a key."""
        return self._options.get("s_aux")

    def rotary(self) -> Rotary:
        """This layer's rotation, as `measure_rotary` reads it."""
        return measure_rotary(self.layout, self.cos[0], self.sin[0], self.scaling)

    def turned(self, x: Tensor, position: int) -> Tensor:
        """x (batch, heads, n, head_dim) before rotation -> all of it rotated to one position, which may lie past the
        end of the sequence. At position 0 that is x itself, times what the model multiplies cos and sin by."""
        if position < self.cos.shape[1]:
            return self.layout.rotate(x, self.cos[:, [position]], self.sin[:, [position]])
        rotary, layout = self.rotary(), self.layout
        angle = np.zeros(self.cos.shape[-1])
        of_dimension = dict(zip(layout.dimension.tolist(), layout.column.tolist(), strict=True))
        for dimensions in (rotary.real, rotary.imaginary):
            angle[[of_dimension[dimension] for dimension in dimensions.tolist()]] = rotary.frequency * position
        cos, sin = (torch.as_tensor(rotary.amplitude * part(angle)).to(x)[None, None] for part in (np.cos, np.sin))
        return self.layout.rotate(x, cos, sin)

    def plain(self) -> tuple[Tensor, Tensor | None]:
        """The model's own attention on the rotated query and key: output (batch, length, heads, value_dim)."""
        return self._own(*self._rotated(), self.value)

    def logits(self) -> Tensor:
        """W (batch, heads, length, length) as the model feeds its softmax: before mask, sink and softcap."""
        query, key = self._rotated()
        return self.scaling * (query.unflatten(1, (key.shape[1], -1)) @ key[:, :, None].mT).flatten(1, 2)

    def with_logits(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """The model's own attention, its mask, softcap, sinks and values included, but on these logits: queries
        that hold the logits against unit keys. logits (batch, heads, length, length); output as of `plain`."""
        return self._own((logits / self.scaling).to(self.query), self._units(self.key), self.value)

    def weights(self) -> Tensor:
        """The model's own attention weights (batch, heads, length, length), masked cells 0: unit values tell."""
        output, _ = self._own(*self._rotated(), self._units(self.value))
        return output.transpose(1, 2)

    def _rotated(self) -> tuple[Tensor, Tensor]:
        return self.layout.rotate(self.query, self.cos, self.sin), self.layout.rotate(self.key, self.cos, self.sin)

    def _units(self, like: Tensor) -> Tensor:
        """One unit vector a position, for each (batch, head) of `like`."""
        unit = torch.eye(like.shape[2], dtype=like.dtype, device=like.device)
        return unit.expand(*like.shape[:2], -1, -1)


Attend = Callable[[Call], tuple[Tensor, Tensor | None]]
Live = Callable[[int, Tensor, Tensor, float], None]


def attention_modules(model: PreTrainedModel) -> dict[int, torch.nn.Module]:
    """Layer -> the innermost module that takes `position_embeddings`.

    Raises UserError if the model has none, or does not let its attention function be set.
    """
    kind = model.config.model_type
    takes = [
        module
        for module in model.modules()
        if hasattr(module, "layer_idx") and "position_embeddings" in inspect.signature(module.forward).parameters
    ]
    innermost = [
        module
        for module in takes
        if not any(child is not module and other is child for child in module.modules() for other in takes)
    ]
    if not innermost:
        raise UserError(
            f"a model of type '{kind}' has no rotary position embedding that its attention layers take as an "
            f"argument: Triaxis needs a RoPE model (Llama, Mistral, Qwen, Gemma, Phi, GPT-NeoX, ...); {INSTEAD}"
        )
    if not model._can_set_attn_implementation():
        raise UserError(
            f"a model of type '{kind}' refuses capture: its attention does not go through the attention interface "
            f"of transformers; {INSTEAD}, or choose another family"
        )
    return {int(module.layer_idx): module for module in innermost}  # type: ignore[arg-type]


@contextmanager
def _attention_function(
    model: PreTrainedModel, function: Callable[..., Any], mask: Callable[..., Any] | None = None
) -> Iterator[None]:
    """Let `function(own, module, query, key, value, mask, scaling, **options)` be the model's attention.

    own: the attention function the model would have used. Its mask function is kept, unless `mask` replaces it:
    without one of our name the mask would be None and the model acausal.
    """
    before = model.config._attn_implementation
    # SDPA knows no softcap: such a model needs the eager function of its own file, as does one without SDPA.
    softcap = getattr(model.config.get_text_config(), "attn_logit_softcapping", None)
    inner = "eager" if softcap or before not in ALL_ATTENTION_FUNCTIONS else before

    def attend(module, query, key, value, attention_mask, scaling=None, **options):  # type: ignore[no-untyped-def]
        eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        own = ALL_ATTENTION_FUNCTIONS.get_interface(inner, eager)
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        return function(own, module, query, key, value, attention_mask, scaling, **options)

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, mask or ALL_MASK_ATTENTION_FUNCTIONS[inner])
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def _replaying(model: PreTrainedModel, before_each: Callable[..., Any]) -> Iterator[None]:
    """Call `before_each(layer, module, args, kwargs)` ahead of each attention module; it returns (args, kwargs)."""
    handles = [
        module.register_forward_pre_hook(
            lambda module, args, kwargs, layer=layer: before_each(layer, module, args, kwargs), with_kwargs=True
        )
        for layer, module in attention_modules(model).items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Recorder:
    """Answers a replayed attention module with zeros and keeps the query and key that it was given."""

    def __init__(self) -> None:
        self.active = False
        self.query = self.key = torch.empty(0)
        self.scaling = 0.0

    def replay(
        self, module: torch.nn.Module, args: Any, kwargs: Any, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The query and key that `module` makes of its input under the rotation (cos, sin)."""
        self.active = True
        try:
            module.forward(*args, **(kwargs | {"position_embeddings": (cos, sin), "past_key_values": None}))
        finally:
            self.active = False
        return self.query, self.key

    def take(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> tuple[Tensor, None]:
        self.query, self.key, self.scaling = query, key, scaling
        batch, heads, length, _ = query.shape
        return value.new_zeros(batch, length, heads, value.shape[-1]), None


@torch.inference_mode()
def probe_layouts(model: PreTrainedModel) -> dict[int, Layout]:
    """Layer -> how it rotates, found by replaying each attention module under rotations of our choice.

    cos 1, sin 0 gives the vectors before rotation; cos 0, sin 1 gives each dimension's partner and sign; cos 1 or
    2, by the bits of the column number, gives the column of cos that each dimension reads. Raises UserError if
    the model refuses capture, if a query or key is not finite or if a layer's rotation is not made of planar ones.
    """
    recorder, layouts = _Recorder(), {}

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
    with _attention_function(model, function), _replaying(model, before_each):
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
            f"layer {layer}: queries or keys are NaN or infinite; try features.dtype float32, or look at the "
            "model's weights"
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


@contextmanager
def attending(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    attend: Attend,
    live: Live | None = None,
    mask: Callable[..., Any] | None = None,
) -> Iterator[None]:
    """While open, each layer's attention of `model` is `attend(call)`, which sees queries and keys before RoPE.

    live: if given, it is also shown (layer, query, key, scaling) as the layer itself rotates them, from the same
    input: the vectors whose product the model feeds its softmax. mask: a mask function of transformers in place of the
    model's own, for an `attend` that needs no mask.
    """
    recorder, rotation = _Recorder(), {}

    def before_each(layer: int, module: torch.nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        cos, sin = rotation[module] = kwargs["position_embeddings"]
        if live is not None:
            live(layer, *recorder.replay(module, args, kwargs, cos, sin), recorder.scaling)
        return args, kwargs | {"position_embeddings": (torch.ones_like(cos), torch.zeros_like(sin))}

    def function(own, module, query, key, value, mask, scaling, **options):  # type: ignore[no-untyped-def]
        if recorder.active:
            return recorder.take(query, key, value, scaling)
        # A model on several devices makes one table on one of them.
        cos, sin = (table.to(query.device) for table in rotation.pop(module))

        def finish(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor | None]:
            return own(module, query, key, value, mask, scaling=scaling, **options)

        layer = int(module.layer_idx)
        return attend(Call(layer, query, key, value, mask, scaling, cos, sin, layouts[layer], finish, options))

    with _attention_function(model, function, mask), _replaying(model, before_each):
        yield


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
