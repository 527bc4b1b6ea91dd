"""Logits as a model hands them to its softmax, for models whose queries and keys cannot be had before a rotation.

Models without a rotation (GPT-2 and its kin, ALiBi) and those that do not let their attention be set (Falcon, GPT-J)
have no features, but each computes a softmax over its logits when it runs with eager attention. That call is watched.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode
from tqdm import tqdm
from transformers import PreTrainedModel

from triaxis.base.errors import UserError
from triaxis.model.inputs import passes, token_ids

Tensor = torch.Tensor

SOFTMAXES = (torch.nn.functional.softmax, torch.softmax, torch.Tensor.softmax)


class _Watch(TorchFunctionMode):
    """Shows `see` what every softmax is given."""

    def __init__(self, see: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.see = see

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in SOFTMAXES:
            self.see(args[0] if args else kwargs["input"])
        return func(*args, **kwargs)


def learned_positions(model: PreTrainedModel) -> float:
    """How many positions a model has an embedding of; infinite if it has none."""
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    tables = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    # Some leave a few rows before the first position (OPT: two).
    held = [table for table in tables if table is not model.get_input_embeddings()]
    return most if most and any(0 <= table.num_embeddings - most <= 2 for table in held) else float("inf")


@torch.inference_mode()
def capture_logits(
    model: PreTrainedModel,
    tokens: NDArray[np.int32],
    numbers: Sequence[int],
    layers: list[int] | None,
    *,
    batch_tokens: int,
    keep: Callable[[int, int, Tensor], None],
) -> None:
    """Show `keep(sequence, layer, W)` every logit matrix of tokens (sequences, length), called `numbers`.

    model: with eager attention. layers: those to keep, None for all. W: (heads, length, length) on the model's
    device, as its softmax receives it: after any bias, such as that of ALiBi; cells above the diagonal hold the mask.
    Raises UserError if the softmaxes are not one for each layer, if a layer is out of range, if a causal cell is
    masked (a window shorter than the sequences), if the model caps its logits or has learned fewer positions, or if
    a logit is not finite.
    """
    kind, depth = model.config.model_type, model.config.get_text_config().num_hidden_layers
    if getattr(model.config.get_text_config(), "attn_logit_softcapping", None):
        raise UserError(f"a model of type '{kind}' caps its logits before the softmax: use capture: features for it")
    if beyond := [layer for layer in layers or [] if layer >= depth]:
        raise UserError(f"features.layers {beyond} are out of range: the model has layers 0 to {depth - 1}")
    length = tokens.shape[1]
    if length > (most := learned_positions(model)):
        raise UserError(
            f"a model of type '{kind}' has learned {most} positions, and sequences.length is {length}: lower it"
        )
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    progress = tqdm(total=len(tokens) * depth, unit="layer", desc="capture", mininterval=5)
    for part in passes(tokens, batch_tokens):
        ids = token_ids(model, tokens[part])
        layer = 0

        def see(scores: Tensor, ids: Tensor = ids, part: slice = part) -> None:
            nonlocal layer
            if scores.shape[-2:] != (length, length):
                return
            matrices = scores.view(len(ids), -1, length, length)
            seen = matrices[:, :, causal.to(scores.device)]
            # A mask is -inf or close to the least number there is; no logit comes near it.
            if (seen <= torch.finfo(scores.dtype).min / 2).any():
                raise UserError(
                    f"layer {layer} of a model of type '{kind}' masks keys that are not in the future (a window): "
                    "lower sequences.length"
                )
            if not seen.isfinite().all():
                raise UserError(f"layer {layer}: logits are NaN or infinite; try run.dtype float32")
            if layers is None or layer in layers:
                for row, number in enumerate(numbers[part]):
                    keep(number, layer, matrices[row])
            layer += 1
            progress.update(len(ids))

        with _Watch(see):
            model.base_model(input_ids=ids, use_cache=False)
        if layer != depth:
            raise UserError(
                f"a model of type '{kind}' shows {layer} softmaxes over its keys for {depth} layers: its logits "
                "cannot be captured; choose another family"
            )
    progress.close()


def instead(model: PreTrainedModel) -> str:
    """What a message advises for a model without queries and keys before rotation: capture: logits, if it works."""
    before = model.config._attn_implementation
    try:
        tried = model
        if model._can_set_attn_implementation():
            model.set_attn_implementation("eager")
        else:  # chosen when the model is made: a small one shows what another would do
            config = copy.deepcopy(model.config)
            config.num_hidden_layers, config.vocab_size = 1, 16
            tried = type(model)._from_config(config, attn_implementation="eager").eval()
        tokens = np.arange(8, dtype=np.int32)[None] % int(tried.get_input_embeddings().num_embeddings)  # type: ignore[arg-type]
        capture_logits(tried, tokens, [0], None, batch_tokens=1, keep=lambda *_: None)
    except Exception:  # whatever a family that was never tried makes of it
        return "its logits cannot be captured at the softmax either: choose another family"
    finally:
        model.config._attn_implementation = before
    return "the three-axis fit alone needs no rotation: set capture: logits in its entry of models"
