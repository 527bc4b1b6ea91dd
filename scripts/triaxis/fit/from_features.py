"""Sums of logit matrices straight from their queries and keys (linear.py), so that no logit is ever computed."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import torch

from triaxis.attention.rope import Rotary
from triaxis.base.parquet import MATRIX
from triaxis.fit.axes import Sums
from triaxis.fit.groups import Groups
from triaxis.fit.linear import rotate, sum_over_axes
from triaxis.fit.summed import Summed, joined
from triaxis.logits.features import Features
from triaxis.logits.logits import chosen_heads

Tensor = torch.Tensor

# Numbers of the queries that are summed at a time; one key head's at the least.
BLOCK = 2**24


def sum_features(
    features: Iterable[Features],
    rotaries: Mapping[int, Rotary],
    heads: list[int] | None,
    groups: Mapping[int, Groups],
    device: torch.device,
) -> Iterator[Summed]:
    """The sums of each (sequence, layer) of `features`, once for each length of `groups`, of its first tokens.

    heads: those to keep, None for all. device: one that has float64. Raises UserError if a head is out of range.
    """
    for layer in features:
        chosen = chosen_heads(heads, len(layer.query))
        place = [np.full(len(chosen), layer.sequence), np.full(len(chosen), layer.layer), chosen]
        matrices = pa.table(dict(zip(pa.schema(MATRIX).names, place, strict=True))).cast(pa.schema(MATRIX))
        sums: dict[int, list[tuple[Sums, Sums]]] = {length: [] for length in groups}
        for query, key in _rotated(layer, rotaries[layer.layer], heads, device):
            for length, own in groups.items():
                sums[length].append(sum_over_axes(query[:, :length], key[:, :length], own))
        for parts in sums.values():
            whole, heldout = (joined(side) for side in zip(*parts, strict=True))
            yield Summed(matrices, whole, heldout)


def _rotated(
    layer: Features, rotary: Rotary, heads: list[int] | None, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Some heads' rotated and scaled queries and their rotated keys at a time, as `sum_over_axes` takes them."""
    group, length = len(layer.query) // len(layer.key), layer.query.shape[1]
    query_heads, key_heads = np.arange(len(layer.query)), np.arange(len(layer.key))
    if heads is not None:
        query_heads, key_heads, group = np.array(heads), np.array(heads) // group, 1
    step = max(1, BLOCK // (group * length * layer.query.shape[2]))
    positions = torch.arange(length, device=device)
    for start in range(0, len(key_heads), step):
        query = layer.query[query_heads[start * group : (start + step) * group]]
        key = layer.key[key_heads[start : start + step]]
        x, y = (rotate(torch.from_numpy(own).to(device).double(), rotary, positions) for own in (query, key))
        yield rotary.scale * x, y
