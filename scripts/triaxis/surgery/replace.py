"""Attention whose logits are those of a variant of surgery: additive ones, exact ones in a window, or exact ones with
noise. Softmax, mask, softcap, sinks and values stay the model's own. docs/method/surgery.md.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from triaxis.attention.capture import Attend, Call
from triaxis.attention.rope import Rotary
from triaxis.surgery.additive import Additive
from triaxis.surgery.variants import Variant

Tensor = torch.Tensor


def replace_logits(
    variant: Variant,
    forms: Mapping[tuple[str, int], Additive],
    rotaries: Mapping[int, Rotary],
    layers: frozenset[int],
    head: int | None = None,
    numbers: Sequence[int] = (),
) -> Attend:
    """The attention of a model whose `layers` (in them `head`, None: all heads) have the logits of `variant`.

    forms: (form, layer) -> parameters, the variant's own among them. numbers: of the sequences, which seed the noise.
    The attention of the other layers is the model's own.
    """

    def attend(call: Call) -> tuple[Tensor, Tensor | None]:
        if call.layer not in layers:
            return call.plain()
        if variant.window is not None and variant.form is None:
            return attend_within(call, near(call.query.shape[2], variant.window))
        exact = call.logits()
        if variant.form is None:
            return call.with_logits(exact)

        def of_form(form: str) -> Tensor:
            own, rotary = forms[form, call.layer], rotaries[call.layer]
            return own.logits(call.query, call.key, rotary, variant.position, variant.meaning)

        logits = of_form(variant.form)
        if variant.first == "own":
            logits[..., 0] = of_form("first")[..., 0]
        if variant.first == "exact":
            logits[..., 0] = exact[..., 0]
        if variant.window is not None:
            logits = torch.where(near(logits.shape[-1], variant.window).to(logits.device), exact, logits)
        if variant.noise:
            logits = exact + noise_like(logits - exact, call.window, [[number, call.layer] for number in numbers])
        if head is not None:
            others = exact.float()
            others[:, head] = logits[:, head]
            logits = others
        return call.with_logits(logits)

    return attend


def near(length: int, window: int | None) -> Tensor:
    """(length, length) bool: the cells of the last `window` keys of each query (None: of all) and of the first key."""
    distance = torch.arange(length)[:, None] - torch.arange(length)
    seen = distance >= 0
    return seen if window is None else seen & ((distance < window) | (torch.arange(length) == 0))


def attend_within(call: Call, cells: Tensor) -> tuple[Tensor, Tensor | None]:
    """The model's own attention with all but `cells` (length, length) masked, a sink's share included: a mask in the
    logits would not survive a softcap."""
    weights = call.weights().float()
    kept = weights * cells.to(weights.device)
    total = kept.sum(-1, keepdim=True)
    if call.sinks is not None:
        total = total + (1 - weights.sum(-1, keepdim=True)).clamp_min(0)
    value = call.value.float().repeat_interleave(kept.shape[1] // call.value.shape[1], dim=1)
    return (kept / total @ value).transpose(1, 2).to(call.value), None


def noise_like(error: Tensor, window: int | None, seeds: Sequence[Sequence[int]]) -> Tensor:
    """Normal noise (batch, heads, length, length), independent in each cell, of the variance over the keys that a query
    sees of its own `error`, head by head; a constant over keys, which no softmax sees, is no error.

    window: how many of the last keys a query sees, None for all. seeds: one for each sequence.
    """
    length = error.shape[-1]
    distance = torch.arange(length)[:, None] - torch.arange(length)
    seen = ((distance >= 0) & (distance < (window or length))).to(error)
    count = seen.sum(-1)
    mean = (error * seen).sum(-1) / count
    variance = ((error - mean[..., None]) ** 2 * seen).sum(-1) / count
    drawn = [np.random.default_rng(seed).standard_normal(error.shape[1:], dtype=np.float32) for seed in seeds]
    return variance.sqrt()[..., None] * torch.from_numpy(np.stack(drawn)).to(error)
