"""How attention modules are reached: their attention function set, their inputs shown, a module run again under a
rotation of our choice.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from triaxis.attention.at_softmax import instead
from triaxis.attention.masks import in_parts, over_chunks
from triaxis.base.errors import UserError

Tensor = torch.Tensor

NAME = "triaxis"


def attention_modules(model: PreTrainedModel) -> dict[int, torch.nn.Module]:
    """Layer -> the innermost module that takes `position_embeddings`.

    Raises UserError if the model has none, has several of one layer, or does not let its attention function be set.
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
            f"argument: Triaxis needs a RoPE model (Llama, Mistral, Qwen, Gemma, Phi, GPT-NeoX, ...); {instead(model)}"
        )
    if not model._can_set_attn_implementation():
        raise UserError(
            f"a model of type '{kind}' refuses capture: its attention does not go through the attention interface "
            f"of transformers; {instead(model)}"
        )
    layers = [int(module.layer_idx) for module in innermost]  # type: ignore[arg-type]
    if len(set(layers)) < len(layers):
        raise UserError(
            f"a model of type '{kind}' refuses capture: it has {len(layers)} attention modules, and {len(set(layers))} "
            f"numbers for them; choose another family"
        )
    return dict(zip(layers, innermost, strict=True))


@contextmanager
def attention_function(
    model: PreTrainedModel, function: Callable[..., Any], mask: Callable[..., Any] | None = None
) -> Iterator[None]:
    """Let `function(own, module, query, key, value, mask, scaling, **options)` be the model's attention.

    own: the attention function the model would have used; of a long text it takes the queries in chunks (`masks`).
    Its mask function is kept, unless `mask` replaces it: without one of our name the mask would be None and the model
    acausal.
    """
    before = model.config._attn_implementation
    # SDPA knows no softcap: such a model needs the eager function of its own file, as does one without SDPA.
    softcap = getattr(model.config.get_text_config(), "attn_logit_softcapping", None)
    inner = "eager" if softcap or before not in ALL_ATTENTION_FUNCTIONS else before

    def attend(module, query, key, value, attention_mask, scaling=None, **options):  # type: ignore[no-untyped-def]
        eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        own = over_chunks(ALL_ATTENTION_FUNCTIONS.get_interface(inner, eager))
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        return function(own, module, query, key, value, attention_mask, scaling, **options)

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, mask or in_parts(ALL_MASK_ATTENTION_FUNCTIONS[inner]))
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def before_attention(model: PreTrainedModel, before_each: Callable[..., Any]) -> Iterator[None]:
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


class Recorder:
    """Answers a replayed attention module with zeros and keeps the query and key that it was given."""

    def __init__(self) -> None:
        self.active, self.calls = False, 0
        self.query = self.key = torch.empty(0)
        self.scaling = 0.0

    def replay(
        self, module: torch.nn.Module, args: Any, kwargs: Any, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The query and key that `module` makes of its input under the rotation (cos, sin).

        Raises UserError if it hands its attention function none or several.
        """
        self.active, self.calls = True, 0
        try:
            module.forward(*args, **(kwargs | {"position_embeddings": (cos, sin), "past_key_values": None}))
        finally:
            self.active = False
        if self.calls != 1:
            raise UserError(
                f"the attention of layer {module.layer_idx} calls the attention function of transformers {self.calls} "
                f"times, not once: its queries and keys cannot be told; choose another family"
            )
        return self.query, self.key

    def take(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> tuple[Tensor, None]:
        self.calls += 1
        self.query, self.key, self.scaling = query, key, scaling
        batch, heads, length, _ = query.shape
        return value.new_zeros(batch, length, heads, value.shape[-1]), None
