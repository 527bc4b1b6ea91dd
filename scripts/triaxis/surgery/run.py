"""Surgery: replace a model's logits by additive ones, and measure what it loses.

The logits W of chosen layers and heads become f + g, or a half of it, inside the model's own forward pass; softmax,
mask, softcap, sinks and values stay the model's own (`Call.with_logits`). Blocks before the first replaced layer reuse
cached outputs. docs/method/surgery.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from triaxis.attention.capture import Attend, Call, attending
from triaxis.attention.layout import Layout
from triaxis.attention.replay import attention_modules
from triaxis.attention.rope import Rotary
from triaxis.base.errors import UserError
from triaxis.model.answering import answering
from triaxis.model.head import PlainPredictions, log_probabilities, losses_of
from triaxis.model.inputs import passes, token_ids
from triaxis.surgery.additive import Additive
from triaxis.surgery.schema import SURGERY

Tensor = torch.Tensor

# How far the loss may move when each layer gets its own logits back, and nothing else: nats a token.
ALLOWED_MOVE = 1e-3


@dataclass(frozen=True)
class Variant:
    """What replaces the logits: a form of calibration/ (None: they stay), of which the position part f, the meaning
    part g, or both enter.

    first: the first key's logits are like the others ('like'), stay 'exact', or have a form of their 'own'.
    """

    form: str | None
    position: bool = True
    meaning: bool = True
    first: str = "like"


VARIANTS = {
    "exact": Variant(None),
    "f+g": Variant("mean"),
    "f": Variant("mean", meaning=False),
    "g": Variant("mean", position=False),
    "f+g+sink": Variant("mean+sink", first="exact"),
    "attended": Variant("attended"),
    "attended+sink": Variant("attended+sink", first="exact"),
    "attended+first": Variant("attended+sink", first="own"),
}


@dataclass(frozen=True)
class Intervention:
    """Which logits are replaced: those of `layers`, in them of `head` (None: of all heads).

    base: the run, plain or replaced (all layers), whose cached outputs stand for the blocks before layer `start`.
    scope, layer, head: as the rows of surgery/ name it.
    """

    scope: str
    layer: int | None
    head: int | None
    layers: frozenset[int]
    base: str
    start: int


def interventions_by_layer(layers: Sequence[int]) -> Iterator[Intervention]:
    """Each layer alone, and all layers up to it and from it on; layers: those that rotate, in order."""
    for n, layer in enumerate(layers):
        yield Intervention("layer", layer, None, frozenset([layer]), "plain", layer)
        yield Intervention("from_first", layer, None, frozenset(layers[: n + 1]), "replaced", layer + 1)
        yield Intervention("from_last", layer, None, frozenset(layers[n:]), "plain", layer)


def interventions_by_head(layers: Sequence[int], heads: int) -> Iterator[Intervention]:
    """Each head of `layers` alone."""
    for layer in layers:
        for head in range(heads):
            yield Intervention("head", layer, head, frozenset([layer]), "plain", layer)


def replace_logits(
    variant: Variant,
    forms: Mapping[tuple[str, int], Additive],
    rotaries: Mapping[int, Rotary],
    layers: frozenset[int],
    head: int | None = None,
) -> Attend:
    """The attention of a model whose `layers` (in them `head`, None: all heads) have the logits of `variant`.

    forms: (form, layer) -> parameters. The attention of the other layers is the model's own.
    """

    def attend(call: Call) -> tuple[Tensor, Tensor | None]:
        if call.layer not in layers:
            return call.plain()
        if variant.form is None:
            return call.with_logits(call.logits())

        def of_form(form: str) -> Tensor:
            own, rotary = forms[form, call.layer], rotaries[call.layer]
            return own.logits(call.query, call.key, rotary, variant.position, variant.meaning)

        logits = of_form(variant.form)
        if variant.first == "own":
            logits[..., 0] = of_form("first")[..., 0]
        if variant.first == "exact":
            logits[..., 0] = call.logits()[..., 0]
        if head is not None:
            others = call.logits().float()
            others[:, head] = logits[:, head]
            logits = others
        return call.with_logits(logits)

    return attend


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
        f"a model of type '{model.config.model_type}' keeps its layers in no single list: surgery needs one "
        "block a layer"
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


class InterventionRunner:
    """Runs a model on one batch of sequences, with an intervention at a time.

    What each block gave in the plain run is cached, and in a run that `keep` names; later runs reuse it.
    """

    def __init__(self, model: PreTrainedModel, layouts: dict[int, Layout], tokens: NDArray[np.int32]) -> None:
        self.model, self.layouts = model, layouts
        self.blocks, self.index = decoder_blocks(model)
        self.ids = token_ids(model, tokens)
        self.rotaries: dict[int, Rotary] = {}
        self.outputs: dict[str, list[Any]] = {}
        predictions = self._run(self._observe, keep="plain")
        self.predictions = [PlainPredictions(row[:-1]) for row in predictions]
        self.plain = self._compare(predictions)

    def _compare(self, predictions: Tensor) -> list[dict[str, float]]:
        """`mean_measures` a sequence at a time: predictions over a vocabulary are large."""
        each = zip(self.predictions, predictions, self.ids, strict=True)
        return [mean_measures(plain, row[:-1], tokens) for plain, row, tokens in each]

    def _observe(self, call: Call) -> tuple[Tensor, Tensor | None]:
        self.rotaries[call.layer] = call.rotary()
        return call.plain()

    def _run(self, attend: Attend, base: str = "", first: int = 0, keep: str = "") -> Tensor:
        """Predictions of one pass; blocks before `first` answer from `base`, all outputs are kept under `keep`."""
        answers = self.outputs[base][:first] if first else []
        outputs: list[Any] = []
        with attending(self.model, self.layouts, attend), answering(zip(self.blocks, answers, strict=False)):
            if not keep:
                return self.model(input_ids=self.ids, use_cache=False).logits
            with _recording(self.blocks, outputs):
                predictions = self.model(input_ids=self.ids, use_cache=False).logits
        self.outputs[keep] = outputs
        return predictions

    def rotating(self) -> list[int]:
        """The layers whose logits depend on distance: those that surgery can replace."""
        return sorted(layer for layer, rotary in self.rotaries.items() if len(rotary.frequency))

    def run(
        self, variant: Variant, forms: Mapping[tuple[str, int], Additive], intervention: Intervention, keep: str = ""
    ) -> list[dict[str, float]]:
        """What `mean_measures` says of one intervention, a dict a sequence."""
        after = [n for layer, n in self.index.items() if layer < intervention.start]
        first = max(after) + 1 if after else 0
        attend = replace_logits(variant, forms, self.rotaries, intervention.layers, intervention.head)
        return self._compare(self._run(attend, intervention.base, first, keep))


@torch.inference_mode()
def run_surgery(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    tokens: NDArray[np.int32],
    numbers: Sequence[int],
    forms: Mapping[tuple[str, int], Additive],
    *,
    batch_tokens: int,
    stepwise: Sequence[str],
    step_sequences: int,
    heads_of_layers: int,
) -> pa.Table:
    """The rows of surgery/: every variant in all layers and, for those in `stepwise`, layer by layer and head by head.

    tokens (sequences, length), called `numbers`; the steps take the first `step_sequences` of them. Heads are those
    of the `heads_of_layers` layers whose replacement costs most. Raises UserError if the model with its own logits
    put back is not the model.
    """
    rows: list[dict[str, Any]] = []

    def record(runner: InterventionRunner, first: int, name: str, intervention: Intervention, keep: str = "") -> None:
        key = {"variant": name, "scope": intervention.scope, "layer": intervention.layer, "head": intervention.head}
        for number, result in enumerate(runner.run(VARIANTS[name], forms, intervention, keep), first):
            rows.append({"sequence": numbers[number]} | key | result)
        progress.update()

    for part in passes(tokens, batch_tokens):
        runner = InterventionRunner(model, layouts, tokens[part])
        layers = runner.rotating()
        whole = Intervention("all", None, None, frozenset(layers), "plain", layers[0])
        progress = tqdm(VARIANTS, unit="pass", desc="surgery, whole", mininterval=5)
        for name in VARIANTS:
            record(runner, part.start, name, whole)
        _check([row for row in rows if row["variant"] == "exact"][-len(runner.plain) :], runner.plain)
        progress.close()
    if stepwise:
        # One batch: the plain states, and those with all layers replaced, are held for all steps.
        runner = InterventionRunner(model, layouts, tokens[:step_sequences])
        heads = len(next(iter(forms.values())).key)
        steps = 3 * len(layers) + min(heads_of_layers, len(layers)) * heads
        progress = tqdm(total=len(stepwise) * steps, unit="pass", desc="surgery, stepwise", mininterval=5)
        for name in stepwise:
            runner.run(VARIANTS[name], forms, whole, keep="replaced")
            for intervention in interventions_by_layer(layers):
                record(runner, 0, name, intervention)
            for intervention in interventions_by_head(most_damaging(rows, name)[:heads_of_layers], heads):
                record(runner, 0, name, intervention)
        progress.close()
    return pa.Table.from_pylist(rows, schema=SURGERY)


def most_damaging(rows: Sequence[Mapping[str, Any]], variant: str) -> list[int]:
    """The layers, that of the greatest summed loss first, by the rows of scope 'layer' of `variant`."""
    losses: dict[int, float] = {}
    for row in rows:
        if row["variant"] == variant and row["scope"] == "layer":
            losses[row["layer"]] = losses.get(row["layer"], 0.0) + row["loss"]
    return sorted(losses, key=lambda layer: (-losses[layer], layer))


def _check(exact: Sequence[Mapping[str, float]], plain: Sequence[Mapping[str, float]]) -> None:
    """Refuse a model that its own logits, put back, change."""
    moved = max(abs(one["loss"] - other["loss"]) for one, other in zip(exact, plain, strict=True))
    if not moved <= ALLOWED_MOVE:
        raise UserError(
            f"the model's own logits, put back, move its loss by {moved:.1e} nats a token, above {ALLOWED_MOVE:.0e}: "
            "its attention reads more than logits; try run.dtype float32, or do without surgery for it"
        )
