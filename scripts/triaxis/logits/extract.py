"""Run a model over sequences and stream each layer's queries and keys before rotation, checked against itself."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from triaxis.attention.capture import Call, attending
from triaxis.attention.layout import Layout, measure_rotary, require_finite
from triaxis.attention.rope import Rotary
from triaxis.base.errors import UserError
from triaxis.logits.features import Features
from triaxis.model.inputs import passes, token_ids

Tensor = torch.Tensor

CHECKED = 64  # queries of each layer whose logits are rebuilt: docs/method/index.md
BEHIND = 2  # layers of a pass that wait to be written, at most


@torch.inference_mode()
def extract_features(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    tokens: NDArray[np.int32],
    numbers: Sequence[int],
    layers: list[int] | None,
    *,
    batch_tokens: int,
    tolerance: float,
    write: Callable[[Features], None],
) -> tuple[dict[int, Rotary], dict[int, float]]:
    """Stream the features of tokens (sequences, length), called `numbers`, to `write`: pass by pass, layer by layer.

    layouts: as `probe_layouts` finds them. layers: those to keep, None for all. write: called in a thread of its own.
    Returns each layer's rotation and its check: the largest difference, over `CHECKED` queries of the first sequence
    and all their keys, between the logits rebuilt from the features and those that the layer itself feeds its softmax,
    relative to the largest of the latter. Raises UserError if a check exceeds `tolerance`, if a query or key is not
    finite, or if a layer is out of range; and what `write` raises.
    """
    chosen = sorted(layouts) if layers is None else layers
    if beyond := sorted(set(chosen) - set(layouts)):
        raise UserError(f"features.layers {beyond} are out of range: the model has layers 0 to {max(layouts)}")
    rotaries: dict[int, Rotary] = {}
    errors: dict[int, float] = {}
    live: dict[int, tuple[Tensor, Tensor, float]] = {}

    def attend(call: Call) -> tuple[Tensor, Tensor | None]:
        if call.layer in chosen:
            require_finite(call.layer, call.query, call.key)
            # In the dtype of the pass; what is left to do is left to the thread that writes.
            query, key = call.query.cpu(), call.key.cpu()
            if call.layer not in rotaries:
                rotary = measure_rotary(call.layout, call.cos[0], call.sin[0], call.scaling)
                rotaries[call.layer] = rotary
                vectors, rows = live.pop(call.layer), checked_rows(call.layer, query.shape[2])
                errors[call.layer] = _check(_as_numpy(query[0]), _as_numpy(key[0]), rotary, *vectors, rows)
                if not errors[call.layer] <= tolerance:
                    raise UserError(
                        f"layer {call.layer}: logits rebuilt from the features differ from the model's own by "
                        f"{errors[call.layer]:.1e} of the largest, above features.tolerance {tolerance:.1e}; extract "
                        "with run.dtype float32, or do not use this model"
                    )
            hand_over(partial(_write_layer, write, numbers[part], call.layer, query, key))
        progress.update(len(call.query))
        return call.plain()

    def keep(layer: int, query: Tensor, key: Tensor, scaling: float) -> None:
        if layer in chosen:
            live[layer] = query[0], key[0], scaling

    first, *others = passes(tokens, batch_tokens)
    with (
        tqdm(total=len(tokens) * len(layouts), unit="layer", desc="extract", mininterval=5) as progress,
        _behind() as hand_over,
    ):
        for shown, parts in ((keep, [first]), (None, others)):
            with attending(model, layouts, attend, shown):
                for part in parts:
                    model.base_model(input_ids=token_ids(model, tokens[part]), use_cache=False)
    return rotaries, errors


@contextmanager
def _behind() -> Iterator[Callable[[Callable[[], None]], None]]:
    """A thread that does what it is handed, in order, at most `BEHIND` pieces behind; what one raises is raised where
    the next are handed over, or at the end."""
    waiting: deque[Future[None]] = deque()

    def hand_over(piece: Callable[[], None]) -> None:
        if len(waiting) == BEHIND:
            waiting.popleft().result()
        waiting.append(thread.submit(piece))

    with ThreadPoolExecutor(1) as thread:
        try:
            yield hand_over
            while waiting:
                waiting.popleft().result()
        finally:
            thread.shutdown(cancel_futures=True)


def _write_layer(
    write: Callable[[Features], None], numbers: Sequence[int], layer: int, query: Tensor, key: Tensor
) -> None:
    """Write a layer of each sequence of a pass: query (sequences, heads, length, head_dim), and key."""
    for number, one_query, one_key in zip(numbers, query, key, strict=True):
        write(Features(number, layer, _as_numpy(one_query), _as_numpy(one_key)))


def _as_numpy(x: Tensor) -> NDArray[np.float32]:
    return x.float().numpy()


def checked_rows(layer: int, length: int) -> NDArray[np.int64]:
    """The queries whose logits the check of a layer rebuilds: some drawn for it, and the last, which sees every key."""
    others = np.random.default_rng(layer).choice(length - 1, min(CHECKED, length) - 1, replace=False)
    return np.append(np.sort(others), length - 1)


def _check(
    query: NDArray[np.float32],
    key: NDArray[np.float32],
    rotary: Rotary,
    own_query: Tensor,
    own_key: Tensor,
    scaling: float,
    rows: NDArray[np.int64],
) -> float:
    """Relative difference of the logits of some rows, rebuilt, from scaling * own query . own key, after rotation.

    query (heads, length, head_dim) and key (key heads, length, head_dim), before rotation; the own ones as the layer
    rotated them; in float64. One key head at a time: of a long text, all heads' logits would outweigh the model.
    """
    positions, group = np.arange(key.shape[1]), len(query) // len(key)
    causal = torch.from_numpy(positions <= rows[:, None])
    largest = []  # of each key head: of the differences, and of the own logits
    for n in range(len(key)):
        heads = slice(n * group, (n + 1) * group)
        turned_query, turned_key = rotary.rotate(query[heads][:, rows], rows), rotary.rotate(key[n], positions)
        rebuilt = rotary.scale * torch.from_numpy(turned_query) @ torch.from_numpy(turned_key).mT
        own_rows = own_query[heads][:, torch.from_numpy(rows).to(own_query.device)].cpu().double()
        own = scaling * own_rows @ own_key[n].cpu().double().mT
        largest.append(torch.stack([(rebuilt - own)[:, causal].abs().max(), own[:, causal].abs().max()]))
    difference, size = torch.stack(largest).amax(0)
    return float(difference / size.clamp_min(1e-30))
