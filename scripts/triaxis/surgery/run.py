"""Surgery: run a model whose logits are replaced by additive ones, and see what it loses.

The logits W of chosen layers and heads become f + g, or a half of it, inside the model's own forward pass; softmax,
mask, softcap, sinks and values stay the model's own (`Call.with_logits`). Blocks before the first replaced layer
are not run again: they answer with what they gave in a run that agrees with this one up to there.
docs/method.md, "Surgery".
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
from triaxis.attention.layout import Layout, measure_rotary
from triaxis.attention.replay import attention_modules
from triaxis.attention.rope import Rotary
from triaxis.base.errors import UserError
from triaxis.model.answering import answering
from triaxis.surgery import additive
from triaxis.surgery.additive import Additive
from triaxis.surgery.schema import SURGERY

Tensor = torch.Tensor

# How far the loss may move when each layer gets its own logits back, and nothing else: nats a token.
TOLERANCE = 1e-3


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
    """One intervention: `layers` are replaced, in them `heads` (None: all), starting from `base`'s state at `start`.

    base: the plain model or the one with all layers replaced; its blocks before layer `start` are not run again.
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


def replace(
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


class Reference:
    """The plain model's predictions of each next token, which every intervention is compared with."""

    def __init__(self, logits: Tensor, tokens: Tensor) -> None:
        """logits (sequences, length, vocabulary), tokens (sequences, length)."""
        self.target = tokens[:, 1:, None]
        self.logs = [row[:-1].float().log_softmax(-1) for row in logits]
        self.probabilities = [row.exp() for row in self.logs]
        self.best = logits[:, :-1].argmax(-1)

    def compare(self, logits: Tensor) -> list[dict[str, float]]:
        """Loss (nats a token), perplexity, top-1 agreement and KL(plain || these logits), a dict a sequence."""
        rows = []
        for n, row in enumerate(logits):  # one sequence at a time: a vocabulary of logits is large
            logs = row[:-1].float().log_softmax(-1)
            loss = -logs.gather(-1, self.target[n]).double().mean().item()
            agreement = (logs.argmax(-1) == self.best[n]).double().mean().item()
            kl = torch.sum(self.probabilities[n] * (self.logs[n] - logs), dim=-1).double().mean().item()
            # A divergence below 0 is rounding.
            rows.append({"loss": loss, "perplexity": float(np.exp(loss)), "agreement": agreement, "kl": max(kl, 0.0)})
        return rows


class SharedRun:
    """A model and one batch of sequences: its plain run is done once and shared by all interventions."""

    def __init__(self, model: PreTrainedModel, layouts: dict[int, Layout], tokens: NDArray[np.int32]) -> None:
        self.model, self.layouts = model, layouts
        self.blocks, self.index = decoder_blocks(model)
        self.ids = torch.from_numpy(tokens).long().to(model.device)
        self.rotaries: dict[int, Rotary] = {}
        self.outputs: dict[str, list[Any]] = {}
        logits = self._run(self._observe, keep="plain")
        self.reference = Reference(logits, self.ids)
        self.plain = self.reference.compare(logits)

    def _observe(self, call: Call) -> tuple[Tensor, Tensor | None]:
        self.rotaries[call.layer] = measure_rotary(call.layout, call.cos[0], call.sin[0], call.scaling)
        return call.plain()

    def _run(self, attend: Attend, base: str = "", first: int = 0, keep: str = "") -> Tensor:
        """Logits of one pass; blocks before `first` answer from `base`, all outputs are kept under `keep`."""
        answers = self.outputs[base][:first] if first else []
        outputs: list[Any] = []
        with attending(self.model, self.layouts, attend), answering(zip(self.blocks, answers, strict=False)):
            if not keep:
                return self.model(input_ids=self.ids, use_cache=False).logits
            with _recording(self.blocks, outputs):
                logits = self.model(input_ids=self.ids, use_cache=False).logits
        self.outputs[keep] = outputs
        return logits

    def rotating(self) -> list[int]:
        """The layers whose logits depend on distance: those that surgery can replace."""
        return sorted(layer for layer, rotary in self.rotaries.items() if len(rotary.frequency))

    def run(
        self, variant: Variant, forms: Mapping[tuple[str, int], Additive], intervention: Intervention, keep: str = ""
    ) -> list[dict[str, float]]:
        """What `Reference.compare` says of one intervention, a dict a sequence."""
        after = [n for layer, n in self.index.items() if layer < intervention.start]
        first = max(after) + 1 if after else 0
        attend = replace(variant, forms, self.rotaries, intervention.layers, intervention.head)
        return self.reference.compare(self._run(attend, intervention.base, first, keep))


@torch.inference_mode()
def calibrate_model(
    model: PreTrainedModel, layouts: dict[int, Layout], tokens: NDArray[np.int32], *, batch: int
) -> dict[tuple[str, int], Additive]:
    """(form, layer) -> parameters of every additive form, from the plain model on tokens (sequences, length).

    Layers that do not rotate are left out.
    """
    rotaries: dict[int, Rotary] = {}
    totals: dict[int, dict[str, Tensor]] = {}
    progress = tqdm(total=len(tokens) * len(layouts), unit="layer", desc="calibrate", mininterval=5)

    def attend(call: Call) -> tuple[Tensor, Tensor | None]:
        if call.layer not in rotaries:
            rotaries[call.layer] = measure_rotary(call.layout, call.cos[0], call.sin[0], call.scaling)
        rotary = rotaries[call.layer]
        if len(rotary.frequency):
            new, old = (
                additive.calibration_sums(call.query, call.key, call.weights(), rotary),
                totals.get(call.layer, {}),
            )
            totals[call.layer] = {name: value + old.get(name, 0) for name, value in new.items()}
        progress.update(len(call.query))
        return call.plain()

    for start in range(0, len(tokens), batch):
        with attending(model, layouts, attend):
            ids = torch.from_numpy(tokens[start : start + batch]).long().to(model.device)
            model.base_model(input_ids=ids, use_cache=False)
    progress.close()
    return {
        (name, layer): form
        for layer, total in totals.items()
        for name, form in additive.calibrate(total, rotaries[layer]).items()
    }


@torch.inference_mode()
def run_surgery(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    tokens: NDArray[np.int32],
    numbers: Sequence[int],
    forms: Mapping[tuple[str, int], Additive],
    *,
    batch: int,
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

    def record(shared: SharedRun, first: int, name: str, intervention: Intervention, keep: str = "") -> None:
        key = {"variant": name, "scope": intervention.scope, "layer": intervention.layer, "head": intervention.head}
        for number, result in enumerate(shared.run(VARIANTS[name], forms, intervention, keep), first):
            rows.append({"sequence": numbers[number]} | key | result)
        progress.update()

    for first in range(0, len(tokens), batch):
        shared = SharedRun(model, layouts, tokens[first : first + batch])
        layers = shared.rotating()
        whole = Intervention("all", None, None, frozenset(layers), "plain", layers[0])
        progress = tqdm(VARIANTS, unit="pass", desc="surgery, whole", mininterval=5)
        for name in VARIANTS:
            record(shared, first, name, whole)
        _check([row for row in rows if row["variant"] == "exact"][-len(shared.plain) :], shared.plain)
        progress.close()
    if stepwise:
        # One batch: the plain states, and those with all layers replaced, are held for all steps.
        shared = SharedRun(model, layouts, tokens[:step_sequences])
        heads = len(next(iter(forms.values())).key)
        steps = 3 * len(layers) + min(heads_of_layers, len(layers)) * heads
        progress = tqdm(total=len(stepwise) * steps, unit="pass", desc="surgery, stepwise", mininterval=5)
        for name in stepwise:
            shared.run(VARIANTS[name], forms, whole, keep="replaced")
            for intervention in interventions_by_layer(layers):
                record(shared, 0, name, intervention)
            for intervention in interventions_by_head(most_damaging(rows, name)[:heads_of_layers], heads):
                record(shared, 0, name, intervention)
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
    if not moved <= TOLERANCE:
        raise UserError(
            f"the model's own logits, put back, move its loss by {moved:.1e} nats a token, above {TOLERANCE:.0e}: "
            "its attention reads more than logits; try features.dtype float32, or do without surgery for it"
        )
