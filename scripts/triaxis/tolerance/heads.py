"""The feature perturbation in one head at a time, and in one layer at a time: what each costs the model.

docs/method/tolerance.md, "Head by head".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from triaxis.attention.capture import Attend, Call
from triaxis.attention.layout import Layout
from triaxis.attention.rerun import Rerunner
from triaxis.attention.rope import Rotary
from triaxis.model.inputs import passes
from triaxis.tolerance.displacement import Displacement
from triaxis.tolerance.perturb import offset_logits, require_fixed_table
from triaxis.tolerance.schema import PERTURBED_HEADS

Tensor = torch.Tensor


class OneLayer:
    """The feature perturbation of one layer, or of a head of it.

    Whatever head is perturbed, the layer reads the same input; so its logits, as they are and with the distances off,
    are made once: (batch, heads, length, length) each.
    """

    def __init__(self, layer: int, rotary: Rotary, offsets: Tensor) -> None:
        """offsets: (batch, length, length) int64, what is added to the distances."""
        self.layer, self.rotary, self.offsets = layer, rotary, offsets
        self.exact = self.off = torch.empty(0)

    def perturb(self, head: int | None) -> Attend:
        """The attention of a model whose distances are off in this layer, in `head` of it (None: in all heads)."""

        def attend(call: Call) -> tuple[Tensor, Tensor | None]:
            if call.layer != self.layer:
                return call.plain()
            if not len(self.off):
                self.exact = call.logits().float()
                self.off = offset_logits(call.query, call.key, self.rotary, self.offsets)
            if head is None:
                return call.with_logits(self.off)
            logits = self.exact.clone()
            logits[:, head] = self.off[:, head]
            return call.with_logits(logits)

        return attend


@torch.inference_mode()
def run_heads(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    tokens: NDArray[np.int32],
    numbers: Sequence[int],
    displacements: Sequence[Displacement],
    *,
    batch_tokens: int,
    layers: Sequence[int] | None = None,
) -> pa.Table:
    """The rows of perturbed_heads/: what tokens (sequences, length), called `numbers`, cost with the distances of one
    layer, and then of each of its heads alone, off as each sequence's displacement makes them.

    layers: those that are perturbed, None for all; of them, those that do not rotate have no rows. Raises UserError if
    the model's position table changes with the largest position.
    """
    require_fixed_table(model)
    rows: list[dict[str, Any]] = []

    def record(runner: Rerunner, own: Sequence[int], one: OneLayer, head: int | None) -> None:
        results = runner.run(one.perturb(head), one.layer)
        for number, plain, result in zip(own, runner.plain, results, strict=True):
            measures = {"plain_loss": plain["loss"], "loss": result["loss"], "kl": result["kl"]}
            rows.append({"sequence": number, "layer": one.layer, "head": head} | measures)

    for part in passes(tokens, batch_tokens):
        runner = Rerunner(model, layouts, tokens[part])
        offsets = torch.from_numpy(np.stack([each.offsets() for each in displacements[part]])).to(runner.ids.device)
        chosen = [layer for layer in runner.rotating() if layers is None or layer in layers]
        for layer in tqdm(chosen, unit="layer", desc="perturb heads", mininterval=5):
            one = OneLayer(layer, runner.rotaries[layer], offsets)
            record(runner, numbers[part], one, None)
            for head in range(one.off.shape[1]):
                record(runner, numbers[part], one, head)
    return pa.Table.from_pylist(rows, schema=PERTURBED_HEADS)
