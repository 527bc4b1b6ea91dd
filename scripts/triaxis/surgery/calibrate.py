"""Calibrate the additive logits of a model on sequences of its own: docs/method/surgery.md."""

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from triaxis.attention.capture import Call, attending
from triaxis.attention.layout import Layout
from triaxis.attention.rope import Rotary
from triaxis.model.inputs import passes, token_ids
from triaxis.surgery import additive
from triaxis.surgery.additive import Additive

Tensor = torch.Tensor


@torch.inference_mode()
def calibrate_model(
    model: PreTrainedModel, layouts: dict[int, Layout], tokens: NDArray[np.int32], *, batch_tokens: int
) -> dict[tuple[str, int], Additive]:
    """(form, layer) -> parameters of every additive form, from the plain model on tokens (sequences, length).

    Layers that do not rotate are left out.
    """
    rotaries: dict[int, Rotary] = {}
    totals: dict[int, dict[str, Tensor]] = {}
    progress = tqdm(total=len(tokens) * len(layouts), unit="layer", desc="calibrate", mininterval=5)

    def attend(call: Call) -> tuple[Tensor, Tensor | None]:
        if call.layer not in rotaries:
            rotaries[call.layer] = call.rotary()
        rotary = rotaries[call.layer]
        if len(rotary.frequency):
            new, old = (
                additive.calibration_sums(call.query, call.key, call.weights(), rotary),
                totals.get(call.layer, {}),
            )
            totals[call.layer] = {name: value + old.get(name, 0) for name, value in new.items()}
        progress.update(len(call.query))
        return call.plain()

    with attending(model, layouts, attend):
        for part in passes(tokens, batch_tokens):
            model.base_model(input_ids=token_ids(model, tokens[part]), use_cache=False)
    progress.close()
    return {
        (name, layer): form
        for layer, total in totals.items()
        for name, form in additive.calibrate(total, rotaries[layer]).items()
    }
