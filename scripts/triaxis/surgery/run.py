"""Surgery: replace a model's logits by additive ones, or by a control, and measure what it loses.

The best strictly additive form is chosen on sequences that neither calibrated it nor score it. Blocks before the first
replaced layer reuse cached outputs. docs/method/surgery.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from triaxis.attention.layout import Layout
from triaxis.attention.rerun import PLAIN, Rerunner
from triaxis.base.errors import UserError
from triaxis.model.inputs import passes
from triaxis.surgery.additive import Additive
from triaxis.surgery.replace import replace_logits
from triaxis.surgery.schema import SURGERY
from triaxis.surgery.variants import ADDITIVE, CHOSEN, VARIANTS

Forms = Mapping[tuple[str, int], Additive]
Rows = list[dict[str, Any]]

# How far the loss may move when each layer gets its own logits back, and nothing else: nats a token, or as much as
# rounding moves it. In half precision two kernels of one attention differ by about the type's epsilon.
ALLOWED_MOVE = 1e-3
ALLOWED_ROUNDING = 4  # epsilons of the model's type


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


def everywhere(scope: str, layers: Sequence[int]) -> Intervention:
    """All layers that rotate, in order."""
    return Intervention(scope, None, None, frozenset(layers), PLAIN, layers[0])


def interventions_by_layer(layers: Sequence[int]) -> Iterator[Intervention]:
    """Each layer alone, and all layers up to it and from it on; layers: those that rotate, in order."""
    for n, layer in enumerate(layers):
        yield Intervention("layer", layer, None, frozenset([layer]), PLAIN, layer)
        yield Intervention("from_first", layer, None, frozenset(layers[: n + 1]), "replaced", layer + 1)
        yield Intervention("from_last", layer, None, frozenset(layers[n:]), PLAIN, layer)


def interventions_by_head(layers: Sequence[int], heads: int) -> Iterator[Intervention]:
    """Each head of `layers` alone."""
    for layer in layers:
        for head in range(heads):
            yield Intervention("head", layer, head, frozenset([layer]), PLAIN, layer)


class InterventionRunner:
    """One batch of sequences, called `numbers`, on which interventions are run; a row a sequence each.

    chosen: the additive variant whose form the controls take.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        layouts: dict[int, Layout],
        tokens: NDArray[np.int32],
        numbers: Sequence[int],
        forms: Forms,
        chosen: str = ADDITIVE[0],
    ) -> None:
        self.runner, self.numbers, self.forms = Rerunner(model, layouts, tokens), numbers, forms
        self.chosen_form, self.layers = VARIANTS[chosen].form, self.runner.rotating()

    def run(self, name: str, intervention: Intervention, keep: str = "") -> Rows:
        """The rows of surgery/ of one variant and intervention; keep: as `Rerunner.run` takes it."""
        variant = VARIANTS[name]
        if variant.form == CHOSEN:
            variant = replace(variant, form=self.chosen_form)
        rotaries = self.runner.rotaries
        attend = replace_logits(variant, self.forms, rotaries, intervention.layers, intervention.head, self.numbers)
        key = {"variant": name, "scope": intervention.scope, "layer": intervention.layer, "head": intervention.head}
        results = self.runner.run(attend, intervention.start, intervention.base, keep)
        return [{"sequence": n} | key | result for n, result in zip(self.numbers, results, strict=True)]


@torch.inference_mode()
def run_surgery(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    tokens: NDArray[np.int32],
    numbers: Sequence[int],
    selection: tuple[NDArray[np.int32], Sequence[int]],
    forms: Forms,
    *,
    batch_tokens: int,
    stepwise: Sequence[str],
    step_sequences: int,
    heads_of_layers: int,
) -> pa.Table:
    """The rows of surgery/: every variant in all layers and, for those in `stepwise`, layer by layer and head by head.

    tokens (sequences, length), called `numbers`; the steps take the first `step_sequences` of them. selection: tokens
    and numbers of the sequences on which the additive variant of the controls is chosen. Heads are those of the
    `heads_of_layers` layers whose replacement costs most. Raises UserError if the model with its own logits put back is
    not the model.
    """
    rows: Rows = []
    progress = tqdm(unit="pass", desc="surgery, whole", mininterval=5)
    for part, own in _parts(*selection, batch_tokens):
        surgeon = InterventionRunner(model, layouts, part, own, forms)
        for name in ADDITIVE:
            rows += surgeon.run(name, everywhere("selection", surgeon.layers))
            progress.update()
    chosen = least_loss(rows)
    for part, own in _parts(tokens, numbers, batch_tokens):
        surgeon = InterventionRunner(model, layouts, part, own, forms, chosen)
        for name in VARIANTS:
            found = surgeon.run(name, everywhere("all", surgeon.layers))
            if name == "exact":
                _check(found, surgeon.runner.plain, model.dtype)
            rows += found
            progress.update()
    progress.close()
    if stepwise:
        # One batch: the plain states, and those with all layers replaced, are held for all steps.
        surgeon = InterventionRunner(model, layouts, tokens[:step_sequences], numbers[:step_sequences], forms, chosen)
        layers, heads = surgeon.layers, len(next(iter(forms.values())).key)
        steps = 3 * len(layers) + min(heads_of_layers, len(layers)) * heads
        progress = tqdm(total=len(stepwise) * steps, unit="pass", desc="surgery, stepwise", mininterval=5)
        for name in stepwise:
            surgeon.run(name, everywhere("all", layers), keep="replaced")
            for intervention in interventions_by_layer(layers):
                rows += surgeon.run(name, intervention)
                progress.update()
            for intervention in interventions_by_head(most_damaging(rows, name)[:heads_of_layers], heads):
                rows += surgeon.run(name, intervention)
                progress.update()
        progress.close()
    return pa.Table.from_pylist(rows, schema=SURGERY)


def _parts(
    tokens: NDArray[np.int32], numbers: Sequence[int], batch_tokens: int
) -> Iterator[tuple[NDArray[np.int32], Sequence[int]]]:
    """The tokens and numbers of the sequences of each pass."""
    for part in passes(tokens, batch_tokens):
        yield tokens[part], numbers[part]


def least_loss(rows: Sequence[Mapping[str, Any]]) -> str:
    """The variant of the least summed loss among `rows`, which hold each on the same sequences."""
    losses: dict[str, float] = {}
    for row in rows:
        losses[row["variant"]] = losses.get(row["variant"], 0.0) + row["loss"]
    return min(losses, key=lambda name: losses[name])


def most_damaging(rows: Sequence[Mapping[str, Any]], variant: str) -> list[int]:
    """The layers, that of the greatest summed loss first, by the rows of scope 'layer' of `variant`."""
    losses: dict[int, float] = {}
    for row in rows:
        if row["variant"] == variant and row["scope"] == "layer":
            losses[row["layer"]] = losses.get(row["layer"], 0.0) + row["loss"]
    return sorted(losses, key=lambda layer: (-losses[layer], layer))


def _check(exact: Sequence[Mapping[str, float]], plain: Sequence[Mapping[str, float]], dtype: torch.dtype) -> None:
    """Refuse a model, of weights in `dtype`, that its own logits, put back, change by more than rounding."""
    moved = max(abs(one["loss"] - other["loss"]) for one, other in zip(exact, plain, strict=True))
    allowed = max(ALLOWED_MOVE, ALLOWED_ROUNDING * torch.finfo(dtype).eps)
    if not moved <= allowed:
        raise UserError(
            f"the model's own logits, put back, move its loss by {moved:.1e} nats a token, above {allowed:.0e}: "
            "its attention reads more than logits; try run.dtype float32, or do without surgery for it"
        )
