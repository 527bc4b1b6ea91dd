"""One pass of a model that reads a prompt and every answer to it, each answer as if it alone followed the prompt.

The answers are *branches*: they stand one after another behind the prompt, each counts its positions from the prompt's
end, and an explicit mask lets each see the prompt and itself. A perturbation (`tolerance.perturb`) moves tokens of the
prompt's context and nothing else. docs/method/tasks.md, "How it is run".
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from triaxis.attention.capture import attending
from triaxis.attention.layout import Layout
from triaxis.base.errors import UserError
from triaxis.model.head import log_probabilities, losses_of
from triaxis.model.inputs import input_device, per_pass, token_ids
from triaxis.tasks.items import Item, Tokens
from triaxis.tolerance.displacement import Displacement
from triaxis.tolerance.perturb import require_fixed_table, scatter

Tensor = torch.Tensor

PROMPT = -1  # the branch of the prompt's tokens


@dataclass(frozen=True)
class Answered:
    """What a model makes of one answer: log_probabilities (tokens,) of its tokens, in nats, each after the true ones
    before it; greedy: whether each is the model's first choice."""

    log_probabilities: NDArray[np.float64]
    greedy: bool


@dataclass(frozen=True)
class Pack:
    """tokens (length,): a prompt and its answers without their last tokens, which nothing follows. position (length,):
    each token's position if its answer alone followed the prompt. branch (length,): PROMPT, or which answer."""

    tokens: Tokens
    position: NDArray[np.int64]
    branch: NDArray[np.int64]
    prompt: int

    @classmethod
    def of(cls, prompt: Tokens, answers: Sequence[Tokens]) -> "Pack":
        inner = [answer[:-1] for answer in answers]
        counts = [len(answer) for answer in inner]
        start = np.arange(len(prompt))
        return cls(
            np.concatenate([prompt, *inner]).astype(np.int32),
            np.concatenate([start, *(len(prompt) + np.arange(count) for count in counts)]),
            np.concatenate([np.full(len(prompt), PROMPT), np.repeat(np.arange(len(counts)), counts)]),
            len(prompt),
        )

    def padded(self, length: int) -> "Pack":
        """With tokens behind it that nothing sees, `length` in all."""
        more = length - len(self.tokens)
        return Pack(
            np.pad(self.tokens, (0, more)),
            np.pad(self.position, (0, more), constant_values=self.prompt),
            np.pad(self.branch, (0, more), constant_values=-2),
            self.prompt,
        )


@dataclass(frozen=True)
class ContextDisplacement(Displacement):
    """A displacement of the context's tokens: the feature perturbation changes no distance between two others.

    context: the positions among which tokens moved.
    """

    context: range = range(0)

    def offsets(self) -> NDArray[np.int64]:
        """(length, length): by how much the distance of query and key is off if each cell draws it for itself: the
        shift of a random token of the context if the query lies in it, less that of another if the key does. The
        diagonal is 0. A row depends on no later one, so that a text that grows keeps its offsets."""
        length = len(self.order)
        start, stop = self.context.start, self.context.stop
        shifts = self.shift[start:stop]
        offsets = np.zeros((length, length), np.int64)
        for row in range(start, length) if len(shifts) else ():
            keys, queries = shifts[np.random.default_rng([*self.seed, 1, row]).integers(len(shifts), size=(2, stop))]
            offsets[row, start:stop] = -keys[start:]
            if row < stop:
                offsets[row, :stop] += queries
        np.fill_diagonal(offsets, 0)
        return offsets

    def grown(self, length: int) -> "ContextDisplacement":
        """The same with tokens behind it that stay, `length` in all."""
        order = np.concatenate([self.order, np.arange(len(self.order), length)])
        return ContextDisplacement(order, self.moved_fraction, self.seed, self.context)


def within_context(item: Item, displacement: Displacement) -> ContextDisplacement:
    """`displacement` of the tokens of `item`, aware of its context."""
    return ContextDisplacement(displacement.order, displacement.moved_fraction, displacement.seed, item.context)


def _windows(model: PreTrainedModel) -> dict[str, int | None]:
    """Layer type -> how many tokens back its layers see, None for all; one entry, '', if the layers are of one type.

    Raises UserError for layers whose view is neither.
    """
    config = model.config.get_text_config()
    kinds = sorted(set(getattr(config, "layer_types", None) or []))
    window = getattr(config, "sliding_window", None)
    if not getattr(config, "use_sliding_window", True):
        window = None
    if not kinds:
        return {"": window}
    known = {"full_attention": None, "sliding_attention": window}
    if other := [kind for kind in kinds if kind not in known]:
        raise UserError(
            f"a model of type '{model.config.model_type}' has layers of type '{other[0]}', for which tasks build no "
            "mask: leave it out of tasks"
        )
    return {"": None} if kinds == ["full_attention"] else {kind: known[kind] for kind in kinds}


def masks(model: PreTrainedModel, packs: Sequence[Pack]) -> Tensor | dict[str, Tensor]:
    """What the model takes as attention_mask: (batch, 1, length, length), 0 where a token sees another, or one for each
    type of layer. packs: of one length."""
    position, branch = (
        torch.from_numpy(np.stack([getattr(pack, name) for pack in packs])) for name in ("position", "branch")
    )
    stored = torch.arange(position.shape[1])
    seen = (branch[:, None] == PROMPT) | (branch[:, None] == branch[:, :, None])
    seen &= stored <= stored[:, None]
    distance = position[:, :, None] - position[:, None]

    def mask(window: int | None) -> Tensor:
        near = seen if window is None else seen & (distance < window)
        hidden = torch.zeros(near.shape, dtype=model.dtype).masked_fill_(~near, torch.finfo(model.dtype).min)
        return hidden[:, None].to(input_device(model))

    windows = _windows(model)
    return mask(windows[""]) if "" in windows else {kind: mask(window) for kind, window in windows.items()}


@contextmanager
def _perturbed(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    perturbation: str,
    packs: Sequence[Pack],
    displacements: Sequence[ContextDisplacement],
    layers: Sequence[int] | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The ids and position ids of a pass of `packs` under `perturbation`, which, while open, changes the model's
    attention too."""
    tokens = np.stack([pack.tokens for pack in packs])
    position = np.stack([pack.position for pack in packs])
    for row, (pack, own) in enumerate(zip(packs, displacements, strict=True)):
        if perturbation == "text":
            tokens[row, : pack.prompt] = pack.tokens[own.order]
        if perturbation == "position":
            position[row, : pack.prompt] = own.new_position
    ids = token_ids(model, tokens)
    positions = torch.from_numpy(position).to(ids.device)
    if perturbation != "feature" or not any(own.shift.any() for own in displacements):
        yield ids, positions
        return
    offsets = torch.from_numpy(np.stack([_offsets(*both) for both in zip(packs, displacements, strict=True)]))
    with attending(model, layouts, scatter(lambda: offsets.to(ids.device), layers, positions)):
        # The rotation's frequencies are read off tables of rising positions.
        yield ids, torch.arange(ids.shape[1], device=ids.device).expand_as(ids)


def _offsets(pack: Pack, displacement: ContextDisplacement) -> NDArray[np.int64]:
    """By how much the distance of two tokens of a pack is off: answers at the same position have the same offsets."""
    return displacement.grown(int(pack.position.max()) + 1).offsets()[np.ix_(pack.position, pack.position)]


@torch.inference_mode()
def score_answers(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    items: Sequence[Item],
    perturbation: str = "text",
    displacements: Sequence[ContextDisplacement] | None = None,
    *,
    batch_tokens: int = 1,
    layers: Sequence[int] | None = None,
) -> list[list[Answered]]:
    """Every answer of every item, in passes of `batch_tokens` tokens over items of equal length.

    displacements: of each prompt, as `perturbation` applies them; None for plain prompts. layers: those that the
    feature perturbation changes, None for all. Raises UserError for a model whose positions cannot be perturbed alone,
    or whose layers' masks are not known.
    """
    if perturbation != "text":
        require_fixed_table(model)
    if displacements is None:
        displacements = [ContextDisplacement(np.arange(len(item.tokens)), 0.0, (), item.context) for item in items]
    packed = [Pack.of(item.tokens, item.answers) for item in items]
    order = sorted(range(len(items)), key=lambda n: len(items[n].tokens))
    results: dict[int, list[Answered]] = {}
    while order:
        length = len(items[order[0]].tokens)
        alike = [n for n in order if len(items[n].tokens) == length]
        chosen = alike[: per_pass(batch_tokens, max(len(packed[n].tokens) for n in alike))]
        order = order[len(chosen) :]
        packs = [packed[n] for n in chosen]
        longest = max(len(pack.tokens) for pack in packs)
        packs = [pack.padded(longest) for pack in packs]
        with _perturbed(model, layouts, perturbation, packs, [displacements[n] for n in chosen], layers) as (
            ids,
            positions,
        ):
            predictions = model(
                input_ids=ids,
                position_ids=positions,
                attention_mask=masks(model, packs),
                use_cache=False,
                logits_to_keep=longest - length + 1,  # the prompt's last token, and what follows it
            ).logits
        for n, row in zip(chosen, predictions, strict=True):
            results[n] = _read(log_probabilities(row), items[n].answers)
    return [results[n] for n in range(len(items))]


def _read(logs: Tensor, answers: Sequence[Tokens]) -> list[Answered]:
    """logs (1 + tokens of all answers but their last, vocabulary): log-probabilities, in the first row those of each
    answer's first token."""
    found, start = [], 1
    for answer in answers:
        rows = torch.tensor([0, *range(start, start + len(answer) - 1)], device=logs.device)
        start += len(answer) - 1
        target = torch.from_numpy(answer).long().to(logs.device)
        own = logs[rows]
        losses = losses_of(own, target).double().cpu().numpy()
        found.append(Answered(-losses, bool((own.argmax(-1) == target).all())))
    return found
