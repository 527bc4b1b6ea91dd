"""Heads of one rotation, a batch at a time: some layers of short sequences, or some heads of one layer of long ones."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary
from triaxis.logits.features import Features
from triaxis.mechanism.components import sizes, to_components

Tensor = torch.Tensor

# Query vectors of a batch, unless one key head has more: enough to hide what each step costs by itself, few enough for
# a core's cache.
VECTORS = 1 << 14


@dataclass(frozen=True)
class Heads:
    """Some key heads and the query heads that they serve.

    sequence, layer, head: (heads,), the numbers of the query heads. query, key: (heads, length, components) complex128,
    the query scaled.
    """

    rotary: Rotary
    sequence: NDArray[np.int64]
    layer: NDArray[np.int64]
    head: NDArray[np.int64]
    query: Tensor
    key: Tensor

    @property
    def pairs(self) -> int:
        return len(self.rotary.frequency)

    @cached_property
    def query_size(self) -> Tensor:
        """Absolute values of `query`."""
        return sizes(self.query)

    @cached_property
    def key_size(self) -> Tensor:
        """Absolute values of `key`."""
        return sizes(self.key)

    @property
    def length(self) -> int:
        return self.query.shape[1]

    @property
    def group(self) -> int:
        """Query heads of a key head."""
        return len(self.query) // len(self.key)


def heads_of(parts: list[tuple[Features, slice]], rotary: Rotary) -> Heads:
    """The heads of layers of one shape; with each layer, which of its key heads."""
    group = len(parts[0][0].query) // len(parts[0][0].key)
    served = [slice(some.start * group, some.stop * group) for _, some in parts]
    head = [np.arange(own.start, own.stop) for own in served]
    queries = _as_double([part.query[own] for (part, _), own in zip(parts, served, strict=True)])
    keys = _as_double([part.key[some] for part, some in parts])
    return Heads(
        rotary,
        np.concatenate([np.full(len(own), part.sequence) for (part, _), own in zip(parts, head, strict=True)]),
        np.concatenate([np.full(len(own), part.layer) for (part, _), own in zip(parts, head, strict=True)]),
        np.concatenate(head),
        to_components(queries, rotary, rotary.scale),
        to_components(keys, rotary),
    )


def _as_double(vectors: list[NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(np.concatenate(vectors, dtype=np.float64))


def batches(layers: Iterable[Features], rotaries: Mapping[int, Rotary]) -> Iterator[Heads]:
    """All heads of `layers`, in order: consecutive layers of one rotation and shape together."""
    waiting: list[tuple[Features, slice]] = []
    for layer in layers:
        heads, length, _ = layer.query.shape
        if waiting and not _alike(waiting[0][0], layer, rotaries):
            yield heads_of(waiting, rotaries[waiting[0][0].layer])
            waiting = []
        step = max(1, VECTORS * len(layer.key) // (heads * length))
        for start in range(0, len(layer.key), step):
            waiting.append((layer, slice(start, min(start + step, len(layer.key)))))
            if sum(some.stop - some.start for _, some in waiting) >= step:
                yield heads_of(waiting, rotaries[layer.layer])
                waiting = []
    if waiting:
        yield heads_of(waiting, rotaries[waiting[0][0].layer])


def _alike(left: Features, right: Features, rotaries: Mapping[int, Rotary]) -> bool:
    """Whether two layers have vectors of one shape and turn them in the same way."""
    if left.query.shape != right.query.shape or left.key.shape != right.key.shape:
        return False
    ours, theirs = rotaries[left.layer], rotaries[right.layer]
    return ours is theirs or all(
        np.array_equal(*pair) for pair in zip(vars(ours).values(), vars(theirs).values(), strict=True)
    )
