"""How a layer rotates, found by probing it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import torch
from transformers import PreTrainedModel

from triaxis.attention.at_softmax import instead
from triaxis.attention.replay import Recorder, attention_function, attention_modules, before_attention
from triaxis.attention.rope import Rotary
from triaxis.attention.twin import Draws, inputs_of, twin_of
from triaxis.base.errors import UserError
from triaxis.model.inputs import input_device

Tensor = torch.Tensor

PROBE_LENGTH = 8


Index = slice | Tensor


def _as_slice(index: Tensor) -> Index:
    """The same dimensions as a slice, if they are evenly spaced: a view, where an index copies, and at a fifth of the
    time."""
    steps = set(index.diff().tolist()) or {1}
    even = len(steps) == 1 and min(steps) > 0
    return slice(int(index[0]), int(index[-1]) + 1, *steps) if even else index


def _take(x: Tensor, index: Index) -> Tensor:
    """x[..., index]."""
    return x[..., index] if isinstance(index, slice) else x.index_select(-1, index.to(x.device))


@dataclass(frozen=True)
class Layout:
    """How one layer's rotation moves the n dimensions that it turns; n = 0 for a NoPE layer.

    rotated[dimension] = x[dimension] * cos[column] + sign * x[partner] * sin[column]; all (n,) int64.
    head_dim: of its queries and keys. precision: the type in which the layer computes this, at least; what it rotates
    keeps its own.
    """

    head_dim: int
    dimension: Tensor
    partner: Tensor
    sign: Tensor
    column: Tensor
    precision: torch.dtype

    def equals(self, other: "Layout") -> bool:
        """Whether both turn the same dimensions in the same way."""
        tensors = ((getattr(self, name), getattr(other, name)) for name in ("dimension", "partner", "sign", "column"))
        return (self.head_dim, self.precision) == (other.head_dim, other.precision) and all(
            torch.equal(*both) for both in tensors
        )

    def rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x (batch, heads, length, head_dim) before rotation -> after it; cos, sin: (batch, length, columns)."""
        if not len(self.dimension):
            return x
        wide = x.to(torch.promote_types(x.dtype, self.precision))
        whole = len(self.dimension) == x.shape[-1]
        turned = torch.empty_like(wide) if whole else wide.clone()
        for own, other, column, sign in self._halves:
            c, s = (_take(table, column)[:, None].to(wide) for table in (cos, sin))
            part = _take(wide, own) * c
            across = _take(wide, other) * s
            turned[..., own] = part.sub_(across) if sign < 0 else part.add_(across)
        return turned.to(x.dtype)

    @cached_property
    def _halves(self) -> list[tuple[Index, Index, Index, int]]:
        """(dimensions, their partners, columns, sign) of those that lose by their partner, and of those that gain."""
        halves = []
        for sign in (-1, 1):
            half = self.sign == sign
            own, other, column = (_as_slice(part[half]) for part in (self.dimension, self.partner, self.column))
            halves.append((own, other, column, sign))
        return halves


@torch.inference_mode()
def probe_layouts(model: PreTrainedModel) -> dict[int, Layout]:
    """Layer -> how it rotates, found by running a twin of each attention module under rotations of our choice.

    cos 1, sin 0 gives the vectors before rotation; cos 0, sin 1 gives each dimension's partner and sign; cos 1 or
    2, by the bits of the column number, gives the column of cos that each dimension reads. The twin's weights are
    drawn, so that all of this is as if no weight of the model were 0; the module itself must then agree. Raises
    UserError, naming the layer, if the model refuses capture, if a query or key is not finite, if a layer's rotation is
    not made of planar ones, each of two dimensions of its own and by one frequency, or if layers that are given the
    same angles turn differently.
    """
    recorder, draws = Recorder(), Draws()
    layouts: dict[int, Layout] = {}
    first_of: dict[bytes, int] = {}

    def refuse(why: str) -> NoReturn:
        raise UserError(f"a model of type '{model.config.model_type}' refuses capture: {why}")

    def before_each(layer: int, module: torch.nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        if not isinstance(kwargs.get("position_embeddings"), tuple):
            refuse(f"no (cos, sin) at layer {layer}")
        cos, sin = kwargs["position_embeddings"]
        one, zero = torch.ones_like(cos), torch.zeros_like(sin)
        expected = torch.cat(recorder.replay(module, args, kwargs, one, zero), dim=1)
        live = torch.cat(recorder.replay(module, args, kwargs, cos, sin), dim=1)
        require_finite(layer, live)
        twin, (twin_args, twin_kwargs) = twin_of(module, draws), inputs_of(args, kwargs, draws)

        def ask(cos: Tensor, sin: Tensor) -> Tensor:
            return torch.cat(recorder.replay(twin, twin_args, twin_kwargs, cos, sin), dim=1)

        layout = _read_layout(ask, cos.cpu(), sin.cpu())
        error = _error(layout, expected, live, cos, sin) if layout else float("inf")
        if layout is None or not error <= 8 * torch.finfo(live.dtype).eps:
            refuse(
                f"what layer {layer} does to queries and keys is not a rotation of pairs of dimensions"
                + ("" if layout is None else f" (off by {error:.1e})")
            )
        try:
            measure_rotary(layout, cos[0], sin[0], recorder.scaling)
        except UserError as fault:
            refuse(f"layer {layer}: {fault}")
        if len(layout.dimension):
            angles = torch.stack([cos, sin]).float().cpu().numpy().tobytes()
            first = first_of.setdefault(angles, layer)
            if first != layer and not layout.equals(layouts[first]):
                refuse(f"layers {first} and {layer} are given the same angles, but turn different dimensions by them")
        layouts[layer] = layout
        return args, kwargs

    def function(own, module, query, key, value, mask, scaling, **options):  # type: ignore[no-untyped-def]
        if recorder.active:
            return recorder.take(query, key, value, scaling)
        return own(module, query, key, value, mask, scaling=scaling, **options)

    tokens = (
        torch.arange(1, PROBE_LENGTH + 1, device=input_device(model))[None] % model.config.get_text_config().vocab_size
    )
    with attention_function(model, function), before_attention(model, before_each):
        model.base_model(input_ids=tokens, use_cache=False)
    if layers := set(attention_modules(model)) - set(layouts):
        refuse(f"layers {sorted(layers)} never ran")
    if not any(len(layout.dimension) for layout in layouts.values()):
        raise UserError(f"a model of type '{model.config.model_type}' rotates nothing; {instead(model)}")
    if len({layout.head_dim for layout in layouts.values()}) > 1:
        raise UserError(
            f"a model of type '{model.config.model_type}' has heads of several sizes: choose another family"
        )
    return layouts


def require_finite(layer: int, *vectors: Tensor) -> None:
    """Raise UserError, naming the layer, if a query or key is NaN or infinite."""
    # A sum passes on what is not finite, at a third of the time. It may overflow by itself: then each number is asked.
    if not all(bool(x.sum(dtype=torch.float32).isfinite() or x.isfinite().all()) for x in vectors):
        raise UserError(
            f"layer {layer}: queries or keys are NaN or infinite; try run.dtype float32, or look at the model's weights"
        )


def _read_layout(ask: Callable[[Tensor, Tensor], Tensor], cos: Tensor, sin: Tensor) -> Layout | None:
    """The layout of one layer, None if what it does is not to turn pairs of dimensions.

    ask(cos, sin): queries and keys (batch, vectors, length, head_dim) under that rotation, whose values differ by
    dimension and are not 0; cos, sin: (batch, length, columns), the model's own.
    """
    one, zero = torch.ones_like(cos), torch.zeros_like(sin)
    before = ask(one, zero)
    plain, turned = before.flatten(0, 2).T, ask(zero, one).flatten(0, 2).T  # (head_dim, vectors)
    moved = (plain != turned).any(dim=1).nonzero().flatten()
    same = (turned[moved, None] == plain[None]).all(-1)
    opposite = (turned[moved, None] == -plain[None]).all(-1)
    partner = (same | opposite).int().argmax(-1)
    sign = torch.where(opposite[torch.arange(len(moved)), partner], -1, 1)
    column = torch.zeros_like(moved)
    for bit in range(int(one.shape[-1] - 1).bit_length()):
        digit = (torch.arange(one.shape[-1]) >> bit) & 1
        doubled = ask(one * (1 + digit).to(one), zero).flatten(0, 2).T
        column += (doubled[moved] != plain[moved]).any(dim=1).long() << bit
    place = torch.full((len(plain),), -1).index_copy(0, moved, torch.arange(len(moved)))
    back = place[partner]
    in_pairs = ((same | opposite).sum(-1) == 1) & (back >= 0) & (partner[back] == moved) & (sign[back] == -sign)
    by_one_frequency = all(torch.equal(table[..., column], table[..., column[back]]) for table in (cos, sin))
    # The columns that a pair's two dimensions read may be one or two, and are no other pair's.
    read = {frozenset(both) for both in zip(column.tolist(), column[back].tolist(), strict=True)}
    apart = len(read) == len(moved) // 2 and sum(map(len, read)) == len(frozenset().union(*read))
    if not (bool(in_pairs.all()) and by_one_frequency and apart):
        return None
    own = ask(cos, sin)
    # Some compute in their own type, others in float32, whatever the type of their tables.
    layouts = [Layout(len(plain), moved, partner, sign, column, dtype) for dtype in (own.dtype, torch.float32)]
    return next((layout for layout in layouts if torch.equal(layout.rotate(before, cos, sin), own)), layouts[0])


def _error(layout: Layout, plain: Tensor, live: Tensor, cos: Tensor, sin: Tensor) -> float:
    """How far `plain`, rotated by the layout, is from `live`, relative to the largest of it."""
    rotated = layout.rotate(plain, cos.to(live.device), sin.to(live.device))
    return float((rotated - live).abs().max() / live.abs().max().clamp_min(1e-9))


def measure_rotary(layout: Layout, cos: Tensor, sin: Tensor, scaling: float) -> Rotary:
    """The frequencies that a layer's live tables hold: angle of pair m at position p = frequency_m * p.

    cos, sin: (length, columns) at positions 0, 1, ... in the model's dtype. Each frequency is read at position 1
    and refined at 2, 4, 8, ..., which undoes wrapping and leaves an error near eps / length. `scaling` is the
    model's attention scaling. Raises UserError if the angles are not finite and proportional to position.
    """
    if not (bool(cos.isfinite().all()) and bool(sin.isfinite().all())):
        raise UserError("the rotation angles of this model are NaN or infinite")
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
