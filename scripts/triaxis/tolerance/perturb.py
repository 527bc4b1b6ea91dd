"""Run a model under a perturbation of order; the three perturbations share one displacement of the tokens.

text: the tokens stand where the displacement puts them. position: they stay, and each has the position index that it
would have there. feature: tokens, indices and mask stay, and in each attention logit the distance alone is off, by a
difference of two tokens' shifts that each (query, key) draws for itself. docs/method/tolerance.md,
"Three perturbations".
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from triaxis.attention.capture import Attend, Call, attending
from triaxis.attention.layout import Layout
from triaxis.attention.pairs import as_real, phases, to_pairs
from triaxis.attention.rope import Rotary
from triaxis.base.choices import PERTURBATIONS
from triaxis.base.errors import UserError
from triaxis.tolerance.displacement import Displacement

Tensor = torch.Tensor

# Queries whose logits are worked on at once: above the diagonal, whole blocks are left out.
BLOCK = 64

# The share of a block's cells that an offset needs to be worth a matrix product; the cells of others are summed singly.
COMMON = 0.05

DisplacementsOf = Callable[[Tensor], Sequence[Displacement]]


@contextmanager
def perturbing(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    perturbation: str,
    displacements_of: DisplacementsOf,
    layers: Sequence[int] | None = None,
) -> Iterator[None]:
    """While open, `perturbation` applies to each forward pass of `model`.

    displacements_of: the token ids (batch, length) of a pass -> the displacement of each sequence. layers: those that
    the feature perturbation changes, None for all that rotate. A pass takes whole sequences: no cache, no padding.
    Raises UserError if the model's position table changes with the largest position and the perturbation needs a fixed
    one.
    """
    if perturbation not in PERTURBATIONS:
        raise UserError(f"the perturbation '{perturbation}' is unknown; choose from {', '.join(PERTURBATIONS)}")
    if perturbation != "text":
        require_fixed_table(model)
    offsets: list[Tensor] = []

    def before(module: torch.nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        ids = args[0] if args else kwargs["input_ids"]
        mask = kwargs.get("attention_mask")
        if kwargs.get("past_key_values") is not None or (mask is not None and not bool(mask.all())):
            raise ValueError("a perturbed pass takes whole sequences: pass use_cache=False and no padding")
        displacements = displacements_of(ids)
        if perturbation == "text":
            moved = ids.gather(1, _stack([each.order for each in displacements], ids))
            return ((moved, *args[1:]), kwargs) if args else (args, kwargs | {"input_ids": moved})
        if perturbation == "position":
            # Without a mask, indices that do not rise by one would be read as packed sequences and cut attention; with
            # one, the model makes its own causal masks, windows and all, of the order in which tokens are stored.
            new_position = _stack([each.new_position for each in displacements], ids)
            return args, kwargs | {"position_ids": new_position, "attention_mask": torch.ones_like(ids)}
        offsets[:] = [_stack([each.offsets() for each in displacements], ids)]
        return args, kwargs

    handle = model.register_forward_pre_hook(before, with_kwargs=True)
    try:
        if perturbation == "feature":
            with attending(model, layouts, scatter(lambda: offsets[0], layers)):
                yield
        else:
            yield
    finally:
        handle.remove()


def _stack(arrays: list[np.ndarray], ids: Tensor) -> Tensor:
    """One array a sequence -> one tensor beside `ids`. Raises ValueError if they are not of its shape."""
    stacked = torch.from_numpy(np.stack(arrays)).to(ids.device)
    if stacked.shape[:2] != ids.shape:
        raise ValueError(f"displacements of shape {tuple(stacked.shape)} for tokens of shape {tuple(ids.shape)}")
    return stacked


def require_fixed_table(model: PreTrainedModel) -> None:
    """Raise UserError if the model's rotary frequencies change with the largest position of a pass."""
    for module in model.modules():
        kinds = getattr(module, "rope_type", "default")
        for kind in kinds.values() if isinstance(kinds, dict) else [kinds]:
            if kind == "longrope" or "dynamic" in str(kind):
                raise UserError(
                    f"a model of type '{model.config.model_type}' has a position table of type '{kind}', which changes "
                    "with the largest position, so that its positions cannot be perturbed alone; set "
                    "tolerance.perturbations to [text], or leave the model out"
                )


def scatter(
    offsets: Callable[[], Tensor], layers: Sequence[int] | None = None, positions: Tensor | None = None
) -> Attend:
    """The attention of a model in whose `layers` (None: all that rotate) cell (i, j) is at distance i - j + offset.

    offsets: gives (batch, length, length) int64 in each pass. Where all are 0 the attention is the model's own, to the
    bit. positions: as for `offset_logits`.
    """
    rotaries: dict[int, Rotary] = {}

    def attend(call: Call) -> tuple[Tensor, Tensor | None]:
        chosen = len(call.layout.dimension) and (layers is None or call.layer in layers)
        if not chosen or not bool(offsets().any()):
            return call.plain()
        if call.layer not in rotaries:
            rotaries[call.layer] = call.rotary()
        return call.with_logits(offset_logits(call.query, call.key, rotaries[call.layer], offsets(), positions))

    return attend


def offset_logits(
    query: Tensor, key: Tensor, rotary: Rotary, offsets: Tensor, positions: Tensor | None = None
) -> Tensor:
    """w(i - j + offset_ij, q_i, k_j), (batch, heads, length, length); cells above the diagonal are not all filled.

    query (batch, heads, length, head_dim) and key (batch, key heads, length, head_dim), before rotation; offsets
    (batch, length, length). Queries are turned once more for each common value of the offsets, in one product with all
    keys, of which each cell takes its own; cells of rare values turn their query themselves. positions (batch, length):
    i and j of the tokens, where these are not stored in their order.
    """
    query, key = (x if x.dtype == torch.float64 else x.float() for x in (query, key))
    length, groups = query.shape[2], key.shape[1]
    kept = torch.as_tensor(rotary.unrotated, device=query.device)
    still = rotary.scale * query.index_select(-1, kept)
    positions = torch.arange(length)[None] if positions is None else positions.cpu()
    queries, keys = to_pairs(query, rotary), to_pairs(key, rotary)
    turn = phases(positions.flatten(), rotary).unflatten(0, positions.shape)[:, None]  # (batch, 1, length, pairs)
    turn = turn.to(queries.dtype).to(query.device)
    queries = queries * (rotary.scale * rotary.amplitude**2 * turn)
    right = torch.cat([as_real(keys * turn), key.index_select(-1, kept)], dim=-1)
    values, index = offsets.unique(return_inverse=True)
    swings = phases(values.cpu(), rotary).to(turn)
    logits = query.new_zeros(*query.shape[:2], length, length)
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        own, cells = index[:, start:stop, :stop], logits[:, :, start:stop, :stop]
        common = own.flatten().bincount(minlength=len(values)) >= COMMON * own.numel()
        for value in common.nonzero():
            left = torch.cat([as_real(queries[:, :, start:stop] * swings[value]), still[:, :, start:stop]], dim=-1)
            product = (left.unflatten(1, (groups, -1)) @ right[:, :, None, :stop].mT).flatten(1, 2)
            cells.copy_(torch.where((own == value)[:, None], product, cells))
        rare = ~common[own] & torch.ones_like(own, dtype=torch.bool).tril(start)
        batch, i, j = rare.nonzero(as_tuple=True)
        turned = queries[batch, :, start + i] * swings[own[rare]][:, None]
        left = torch.cat([as_real(turned), still[batch, :, start + i]], dim=-1).unflatten(1, (groups, -1))
        cells[batch, :, i, j] = torch.einsum("ngqd,ngd->ngq", left, right[batch, :, j]).flatten(1)
    return logits
