"""A model run again and again on one batch of sequences, each time with another attention.

Blocks before the first layer that attends differently are not run again: they answer with what they gave before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from triaxis.attention.capture import Attend, Call, attending
from triaxis.attention.layout import Layout
from triaxis.attention.replay import attention_modules
from triaxis.attention.rope import Rotary
from triaxis.base.errors import UserError
from triaxis.model.answering import answering
from triaxis.model.head import PlainPredictions, log_probabilities, losses_of
from triaxis.model.inputs import token_ids

Tensor = torch.Tensor

# The name of the run in which nothing is changed.
PLAIN = "plain"


def decoder_blocks(model: PreTrainedModel) -> tuple[list[torch.nn.Module], dict[int, int]]:
    """The model's blocks in order, and layer -> index of the block that holds its attention.

    Raises UserError if the attention layers do not each have a block of their own in one list.
    """
    attention = attention_modules(model)
    for stack in model.modules():
        if isinstance(stack, torch.nn.ModuleList):
            holder = {id(module): n for n, block in enumerate(stack) for module in block.modules()}
            index = {layer: holder.get(id(module), -1) for layer, module in attention.items()}
            if -1 not in index.values() and len(set(index.values())) == len(index):
                return list(stack), index
    raise UserError(
        f"a model of type '{model.config.model_type}' keeps its layers in no single list: running layers again needs "
        "one block a layer; do without surgery, and with tolerance.head_sequences 0"
    )


@contextmanager
def _recording(blocks: list[torch.nn.Module], outputs: list[Any]) -> Iterator[None]:
    """Append what each block gives to `outputs`."""
    handles = [block.register_forward_hook(lambda module, args, output: outputs.append(output)) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def mean_measures(plain: PlainPredictions, predictions: Tensor, tokens: Tensor) -> dict[str, float]:
    """Means over one sequence: loss (nats a token), perplexity, top-1 agreement and KL(plain || these predictions).

    predictions (length - 1, vocabulary), tokens (length,).
    """
    logs = log_probabilities(predictions)
    measures = losses_of(logs, tokens[1:]), plain.agreement(logs), plain.kl(logs)
    loss, agreement, kl = (values.double().mean().item() for values in measures)
    return {"loss": loss, "perplexity": float(np.exp(loss)), "agreement": agreement, "kl": max(kl, 0.0)}


class Rerunner:
    """Runs a model on tokens (sequences, length), one attention at a time, and compares it with the plain run.

    rotaries: layer -> how it rotates. plain: `mean_measures` of the plain run, a dict a sequence. What each block gave
    in it is kept, and so it is of a run that `keep` names.
    """

    def __init__(self, model: PreTrainedModel, layouts: dict[int, Layout], tokens: NDArray[np.int32]) -> None:
        self.model, self.layouts = model, layouts
        self.blocks, self.index = decoder_blocks(model)
        self.ids = token_ids(model, tokens)
        self.rotaries: dict[int, Rotary] = {}
        self.outputs: dict[str, list[Any]] = {PLAIN: []}
        predictions = self._predictions(self._observe, keep=PLAIN)
        self.predictions = [PlainPredictions(row[:-1]) for row in predictions]
        self.plain = self._compare(predictions)

    def rotating(self) -> list[int]:
        """The layers whose logits depend on distance."""
        return sorted(layer for layer, rotary in self.rotaries.items() if len(rotary.frequency))

    def run(self, attend: Attend, start: int = 0, base: str = PLAIN, keep: str = "") -> list[dict[str, float]]:
        """`mean_measures` of the model with this attention, a dict a sequence.

        start: blocks of layers before it answer as in the run `base`, with which `attend` must agree there. keep: the
        name under which all blocks' outputs are kept.
        """
        return self._compare(self._predictions(attend, start, base, keep))

    def _observe(self, call: Call) -> tuple[Tensor, Tensor | None]:
        self.rotaries[call.layer] = call.rotary()
        return call.plain()

    def _predictions(self, attend: Attend, start: int = 0, base: str = PLAIN, keep: str = "") -> Tensor:
        before = 1 + max((n for layer, n in self.index.items() if layer < start), default=-1)
        answers = zip(self.blocks, self.outputs[base][:before], strict=False)
        outputs: list[Any] = []
        with attending(self.model, self.layouts, attend), answering(answers):
            if not keep:
                return self.model(input_ids=self.ids, use_cache=False).logits
            with _recording(self.blocks, outputs):
                predictions = self.model(input_ids=self.ids, use_cache=False).logits
        self.outputs[keep] = outputs
        return predictions

    def _compare(self, predictions: Tensor) -> list[dict[str, float]]:
        """`mean_measures` a sequence at a time: predictions over a vocabulary are large."""
        each = zip(self.predictions, predictions, self.ids, strict=True)
        return [mean_measures(plain, row[:-1], tokens) for plain, row, tokens in each]
