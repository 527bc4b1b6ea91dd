"""Run a model on the items of a task, plain and under each perturbation, and record how it answers.

docs/method/tasks.md.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from triaxis.attention.layout import Layout
from triaxis.base.errors import UserError
from triaxis.model.inputs import token_ids
from triaxis.tasks.branches import Answered, ContextDisplacement, score_answers, within_context
from triaxis.tasks.items import Item, Tokens
from triaxis.tasks.longbench import f1
from triaxis.tasks.schema import TASKS
from triaxis.tolerance.displacement import STAYS, displace
from triaxis.tolerance.perturb import perturbing

Row = dict[str, Any]


@dataclass(frozen=True)
class Conditions:
    """How prompts are perturbed: by each of `perturbations`, with each of `fractions` of the units that may move,
    swapped at most `window` units away; unit: 'word' or 'token'; layers: those of the feature perturbation, None for
    all."""

    perturbations: Sequence[str]
    fractions: Sequence[float]
    unit: str
    window: int
    seed: int
    layers: Sequence[int] | None = None

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return ((perturbation, fraction) for perturbation in self.perturbations for fraction in self.fractions)

    def displace(self, item: Item, number: int, fraction: float) -> ContextDisplacement:
        """The displacement of the `number`-th item: the same in every perturbation, and more of it for a larger
        fraction. None of its tokens moves if fewer than two units may."""
        units = item.units(self.unit)
        fraction = fraction if len(np.unique(units[units != STAYS])) > 1 else 0.0
        return within_context(item, displace(units, fraction, self.window, (self.seed, number)))


def run_items(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[Item],
    conditions: Conditions,
    *,
    batch_tokens: int,
    new_tokens: int = 0,
) -> pa.Table:
    """The rows of tasks/: every item in every condition, by its answers, or, where it has none, by what the model
    generates, at most `new_tokens` tokens. A prompt in which nothing moves is the plain one, and is run once.
    Raises UserError if no prompt has words to swap, and as `score_answers` does."""

    def measure(
        perturbation: str, chosen: Sequence[int], displacements: Sequence[ContextDisplacement] | None
    ) -> list[Row]:
        own = [items[n] for n in chosen]
        if all(item.answers for item in own):
            scored = score_answers(
                model, layouts, own, perturbation, displacements, batch_tokens=batch_tokens, layers=conditions.layers
            )
            return [judge(answers) for answers in scored]
        texts = []
        for n, item in enumerate(own):
            moved = None if displacements is None else displacements[n]
            tokens = generate(model, layouts, item.tokens, perturbation, moved, new_tokens, conditions.layers)
            texts.append(str(tokenizer.decode(tokens, skip_special_tokens=True)))
        return [
            {"accuracy": f1(text, item.references), "prediction": text} for text, item in zip(texts, own, strict=True)
        ]

    plain = measure("text", range(len(items)), None)
    rows = []
    for perturbation, fraction in tqdm(list(conditions), unit="condition", desc="tasks", mininterval=5):
        displacements = [conditions.displace(item, number, fraction) for number, item in enumerate(items)]
        moving = [number for number, own in enumerate(displacements) if own.shift.any()]
        if fraction == 1:
            require_movement(displacements)
        results = dict(enumerate(plain))
        results |= zip(moving, measure(perturbation, moving, [displacements[n] for n in moving]), strict=True)
        for number, (item, own) in enumerate(zip(items, displacements, strict=True)):
            shift = own.shift[item.context.start : item.context.stop]
            row = {
                "item": number,
                "depth": item.depth,
                "perturbation": perturbation,
                "fraction": fraction,
                "moved_fraction": own.moved_fraction,
            }
            rows.append(row | {"displacement": float(np.abs(shift).mean()) if len(shift) else 0.0} | results[number])
    return pa.Table.from_pylist(rows, schema=TASKS)


def require_movement(displacements: Sequence[ContextDisplacement]) -> None:
    """Raise UserError if, all being asked to move, nothing did."""
    if not any(own.shift.any() for own in displacements):
        raise UserError(
            "no prompt of this task has two whole words in its context that could be swapped: lengthen its prompts, or "
            "set tolerance.unit to token"
        )


def judge(answers: Sequence[Answered]) -> Row:
    """What an item's row says of its answers, the true one first: candidates, how many there are; accuracy, 1 if each
    of its tokens is the model's first choice; chosen, 1 if it is likelier as a whole than every other;
    log_probability, its mean a token, nats."""
    true, *others = answers
    total = true.log_probabilities.sum()
    return {
        "candidates": len(answers),
        "accuracy": float(true.greedy),
        "chosen": float(all(total > other.log_probabilities.sum() for other in others)),
        "log_probability": float(true.log_probabilities.mean()),
    }


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    tokens: Tokens,
    perturbation: str,
    displacement: ContextDisplacement | None,
    new_tokens: int,
    layers: Sequence[int] | None = None,
    **options: Any,
) -> Tokens:
    """Greedy continuation of a prompt, at most `new_tokens` tokens, by the model's own `generate`.

    displacement: of the prompt, None for none. layers: those that the feature perturbation changes. options: further
    ones of `generate`. Under position and feature the model reads the whole text again for each token.
    """
    still = displacement is None or not displacement.shift.any()
    if not still and perturbation == "text":
        tokens = tokens[displacement.order]  # type: ignore[union-attr]
    ids = token_ids(model, tokens[None])
    cached = still or perturbation == "text"

    def grown(ids: torch.Tensor) -> list[ContextDisplacement]:
        return [displacement.grown(ids.shape[1])]  # type: ignore[union-attr]

    with nullcontext() if cached else perturbing(model, layouts, perturbation, grown, layers):
        # An end or padding token of the model's own generation configuration is kept; its sampling is not.
        settings = {"do_sample": False, "num_beams": 1, "temperature": None, "top_p": None, "top_k": None}
        settings["pad_token_id"] = model.generation_config.pad_token_id or 0
        limit = {} if "max_length" in options else {"max_new_tokens": new_tokens}
        mask = torch.ones_like(ids)
        result = model.generate(  # type: ignore[operator]
            ids, attention_mask=mask, use_cache=cached, **settings | limit | options
        )
    return result[0, len(tokens) :].cpu().numpy().astype(np.int32)
