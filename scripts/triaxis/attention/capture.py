"""Queries and keys before rotation, from any RoPE model of transformers, in the model's own forward pass.

Each attention module is given the identity rotation (cos 1, sin 0), so that its attention function receives the
queries and keys as they are before RoPE, whatever their layout, norms or fused projections. That function, ours,
shows them to an observer, rotates them as the model would have, bit for bit, and hands them to the model's own
attention. How a layer rotates (which dimensions pair up, with which column of cos and sin) is found by probing
it. The attention function is where every experiment on attention enters: see `Call`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from triaxis.attention.layout import Layout, measure_rotary
from triaxis.attention.replay import Recorder, attention_function, before_attention
from triaxis.attention.rope import Rotary

Tensor = torch.Tensor


@dataclass(frozen=True)
class Call:
    """One layer's attention, before rotation: what an experiment may look at, and may replace.

    query (batch, heads, length, head_dim), key and value (batch, key heads, length, ...), cos and sin (batch,
    length, columns).
    """

    layer: int
    query: Tensor
    key: Tensor
    value: Tensor
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
        cos, sin = (
            torch.as_tensor(rotary.amplitude * part(angle)).to(self.cos)[None, None] for part in (np.cos, np.sin)
        )
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

    def with_vectors(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor | None]:
        """The model's own attention on a query and a key in place of the rotated ones, of their shapes; output as of
        `plain`."""
        return self._own(query.to(self.query), key.to(self.key), self.value)

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


def _first_sequence(given: Any) -> Any:
    """What a module is given, of the first sequence alone: batches are the first dimension of all that has several."""
    if isinstance(given, torch.Tensor):
        return given[:1] if given.ndim > 1 else given
    if isinstance(given, tuple):
        return tuple(map(_first_sequence, given))
    return {name: _first_sequence(value) for name, value in given.items()} if isinstance(given, dict) else given


Attend = Callable[[Call], tuple[Tensor, Tensor | None]]
Live = Callable[[int, Tensor, Tensor, float], None]


@contextmanager
def attending(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    attend: Attend,
    live: Live | None = None,
    mask: Callable[..., Any] | None = None,
) -> Iterator[None]:
    """While open, each layer's attention of `model` is `attend(call)`, which sees queries and keys before RoPE.

    live: if given, it is also shown (layer, query, key, scaling) of the first sequence, as the layer itself rotates
    them, from the same input: the vectors whose product the model feeds its softmax. mask: a mask function of
    transformers in place of the model's own, for an `attend` that needs no mask.
    """
    recorder, rotation = Recorder(), {}

    def before_each(layer: int, module: torch.nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        cos, sin = rotation[module] = kwargs["position_embeddings"]
        if live is not None:
            own = recorder.replay(module, _first_sequence(args), _first_sequence(kwargs), cos[:1], sin[:1])
            live(layer, *own, recorder.scaling)
        return args, kwargs | {"position_embeddings": (torch.ones_like(cos), torch.zeros_like(sin))}

    def function(own, module, query, key, value, mask, scaling, **options):  # type: ignore[no-untyped-def]
        if recorder.active:
            return recorder.take(query, key, value, scaling)
        # A model on several devices makes one table on one of them.
        cos, sin = (table.to(query.device) for table in rotation.pop(module))

        def finish(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor | None]:
            return own(module, query, key, value, mask, scaling=scaling, **options)

        layer = int(module.layer_idx)
        return attend(Call(layer, query, key, value, scaling, cos, sin, layouts[layer], finish, options))

    with attention_function(model, function, mask), before_attention(model, before_each):
        yield
