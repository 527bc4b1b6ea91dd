"""Any task of lm-evaluation-harness (https://github.com/EleutherAI/lm-evaluation-harness), plain and perturbed.

The harness, an optional dependency, asks and judges. Each of its requests goes through our own scoring, which perturbs
the context and leaves the continuation as it is.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from triaxis.attention.layout import Layout
from triaxis.base.errors import UserError
from triaxis.tasks.branches import ContextDisplacement, score_answers
from triaxis.tasks.items import Item
from triaxis.tasks.run import Conditions, generate, require_movement
from triaxis.tasks.schema import TASKS
from triaxis.text.offsets import encode
from triaxis.tolerance.displacement import STAYS, word_units


def import_harness() -> Any:
    """The package lm_eval; raises UserError if it is not installed."""
    try:
        import lm_eval
        import lm_eval.models.huggingface
        import lm_eval.tasks
    except ImportError as error:
        raise UserError(
            f"tasks.harness needs lm-evaluation-harness ({error}): pip install lm_eval==0.4.13, or set it to null"
        ) from None
    return lm_eval


def context_item(
    tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int], text: str, answer: Sequence[int] = ()
) -> Item:
    """A context of the harness as an item: all its words may move. tokens: of `text`, which the harness may have
    shortened at its start, or put special tokens before. Raises UserError if they are not."""
    own, offsets = encode(tokenizer, text)
    count = min(len(own), len(tokens))
    if count and own[-count:] != list(tokens[-count:]):
        raise UserError("a context of tasks.harness is not tokenised as its text is, so its words are not known")
    words = np.full(len(tokens), STAYS, np.int64)
    if count:
        words[-count:] = word_units(text, offsets[-count:])
    answers = [np.array(answer, np.int32)] if len(answer) else []
    return Item(np.array(tokens, np.int32), words, range(len(tokens) - count, len(tokens)), answers)


def perturbed_model(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    tokenizer: PreTrainedTokenizerBase,
    conditions: Conditions,
    perturbation: str,
    fraction: float,
    batch_tokens: int,
) -> Any:
    """An HFLM of the harness that perturbs every request; `.displacements` collects the displacement of each."""

    class Perturbed(import_harness().models.huggingface.HFLM):  # type: ignore[misc]
        def __init__(self) -> None:
            # One prompt at a time to `_model_generate`: a batch of unequal ones would be padded.
            super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=1)
            self.displacements: list[ContextDisplacement] = []

        def _displace(self, item: Item) -> ContextDisplacement:
            # By what the context says: the harness orders its requests as it likes.
            own = conditions.displace(item, zlib.crc32(item.tokens.tobytes()), fraction)
            self.displacements.append(own)
            return own

        def _loglikelihood_tokens(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
            items = []
            for (context, _continuation), before, answer in requests:
                kept = before[-max(1, self.max_length - len(answer) + 1) :]
                items.append(context_item(tokenizer, kept, context.rstrip(), answer))
            moved = [self._displace(item) for item in items]
            scored = score_answers(
                model, layouts, items, perturbation, moved, batch_tokens=batch_tokens, layers=conditions.layers
            )
            return [(float(answer.log_probabilities.sum()), answer.greedy) for (answer,) in scored]

        def _model_generate(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any:
            tokens = context[0].cpu().numpy().astype(np.int32)
            special = set(tokenizer.all_special_ids)
            start = next((n for n, token in enumerate(tokens) if int(token) not in special), len(tokens))
            item = context_item(tokenizer, tokens.tolist(), str(tokenizer.decode(tokens[start:])))
            criteria = import_harness().models.huggingface.stop_sequences_criteria(tokenizer, stop, len(tokens), 1)
            if options.pop("do_sample", False):
                raise UserError("a task of tasks.harness samples: only greedy generation can be compared; leave it out")
            limits = {"max_length": max_length, "stopping_criteria": criteria}
            found = generate(model, layouts, tokens, perturbation, self._displace(item), 0, conditions.layers, **limits)
            return context.new_tensor([[*tokens.tolist(), *found.tolist()]])

    return Perturbed()


def run_harness(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    tokenizer: PreTrainedTokenizerBase,
    conditions: Conditions,
    task: str,
    metric: str,
    *,
    limit: int | None,
    folder: str | None,
    batch_tokens: int,
) -> pa.Table:
    """The rows of tasks/ of one task of the harness, judged by its own `metric`; limit: its first documents, None for
    all; folder: of further tasks' YAML files. Raises UserError if there is no such task or metric."""
    lm_eval = import_harness()
    manager = lm_eval.tasks.TaskManager(include_path=folder)
    if task not in manager.all_tasks:
        raise UserError(f"tasks.harness.tasks: lm_eval knows no task '{task}'; `lm_eval ls tasks` lists them")
    rows: list[dict] = []
    plain: list[dict] = []
    for perturbation, fraction in conditions:
        if fraction == 0 and plain:
            rows += [row | {"perturbation": perturbation} for row in plain]
            continue
        lm = perturbed_model(model, layouts, tokenizer, conditions, perturbation, fraction, batch_tokens)
        results = lm_eval.simple_evaluate(
            model=lm, tasks=[task], limit=limit, bootstrap_iters=0, log_samples=True, task_manager=manager
        )
        if fraction == 1:
            require_movement(lm.displacements)
        shifts = [np.abs(own.shift[own.context.start : own.context.stop]).mean() for own in lm.displacements]
        common = {
            "perturbation": perturbation,
            "fraction": fraction,
            "moved_fraction": float(np.mean([own.moved_fraction for own in lm.displacements])),
            "displacement": float(np.mean(shifts)),
        }
        own_rows = [common | row for row in _samples(results["samples"], metric)]
        plain = own_rows if fraction == 0 else plain
        rows += own_rows
    return pa.Table.from_pylist(rows, schema=TASKS)


def _samples(samples: Mapping[str, Sequence[Mapping[str, Any]]], metric: str) -> list[dict]:
    """item and accuracy of each document that the harness judged, the subtasks of a group one after another."""
    rows = []
    for number, sample in enumerate(sample for name in sorted(samples) for sample in samples[name]):
        value = sample.get(metric)
        if not isinstance(value, int | float | np.number):
            known = [name for name in sample.get("metrics", []) if isinstance(sample.get(name), int | float)]
            raise UserError(f"tasks.harness.tasks: the task has no metric '{metric}'; it has {', '.join(known)}")
        rows.append({"item": number, "accuracy": float(value)})
    return rows
