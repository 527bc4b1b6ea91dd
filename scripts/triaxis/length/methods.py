"""Attention past the training length: LM-Infinite, InfLLM, and controls, for any model that `capture` takes.

The first two keep all distances in the trained range and the number of keys small. A query sees the last n_local keys
at their true distances; of the keys before them it sees a few, all at one distance, by a query rotated to it and keys
rotated to position 0. Han et al. 2024 (arXiv 2308.16137), Xiao et al. 2024 (arXiv 2402.04617). The controls change
one of the two: `clipped` the distances alone, `thinned` the number of keys alone. docs/method/length.md, "Methods".

Queries are taken in chunks, each against the keys that it may see, so that memory grows linearly with length. The
model's own mask is causal or a sliding window, which stays in force; its scaling, softcap and sinks too.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from triaxis.attention.capture import Call
from triaxis.base.errors import UserError

Tensor = torch.Tensor

# observe(call, rows, logits, weights): some query positions (rows,), their logits before softcap (batch, heads, rows,
# keys), -inf where hidden, and their attention weights. A key that sits at two distances is two columns.
Observe = Callable[[Call, Tensor, Tensor, Tensor], None]

# Keys at the start of a text that `thinned` never leaves out: attention sinks (Xiao et al. 2024, arXiv 2309.17453).
FIRST = 4


@dataclass(frozen=True)
class Watch:
    """Shows an observer the logits and weights of the query positions `rows` (n,), ascending."""

    rows: Tensor
    observe: Observe


@dataclass
class Bands:
    """A mask function of transformers that makes no mask, and keeps what its mask would have been.

    widths: how many of the last keys the queries of each kind of layer see, the length standing for all of them.
    Raises UserError for a mask that is neither causal nor a sliding window.
    """

    widths: set[int] = field(default_factory=set)

    def __call__(self, *, q_length: int, kv_length: int, mask_function: Callable[..., Any], **options: Any) -> None:
        zero, keys = torch.zeros((), dtype=torch.long), torch.arange(kv_length)
        queries = sorted({kv_length - 1, kv_length // 2, kv_length // 3, 1} & set(range(q_length)))
        visible = [
            torch.as_tensor(mask_function(zero, zero, torch.tensor(query), keys)).expand(kv_length) & (keys <= query)
            for query in queries
        ]
        counts = [int(row.sum()) for row in visible]
        widest = max(counts, default=0)
        for query, row, count in zip(queries, visible, counts, strict=True):
            if count != min(query + 1, widest) or not bool(row[query + 1 - count : query + 1].all()):
                raise UserError(
                    "this model's attention mask is neither causal nor a sliding window: of the methods of length, it "
                    "takes those that keep its own attention (plain, yarn, linear, dynamic)"
                )
        self.widths.add(widest)

    def check(self, call: Call) -> None:
        """Raise UserError if a layer's own window is none of those that the masks would have had."""
        length = call.query.shape[2]
        if min(call.window or length, length) not in self.widths:
            raise UserError(
                f"layer {call.layer} has a window of {call.window}, but the model's masks see {sorted(self.widths)} "
                "keys: of the methods of length, it takes those that keep its own attention (plain, yarn, ...)"
            )


def plain(call: Call, watch: Watch | None = None) -> tuple[Tensor, Tensor | None]:
    """The model's own attention; with `watch`, its logits and weights at a few queries."""
    if watch is not None:
        query = call.layout.rotate(call.query, call.cos, call.sin)[:, :, watch.rows.to(call.query.device)]
        key = call.layout.rotate(call.key, call.cos, call.sin)
        logits = call.scaling * _product(query, key)
        positions = torch.arange(key.shape[2], device=key.device)
        distance = watch.rows.to(key.device)[:, None] - positions
        hidden = (distance < 0) | (distance >= (call.window or len(positions)))
        watch.observe(call, watch.rows, logits.masked_fill(hidden, -torch.inf), _softmax(call, logits, hidden))
    return call.plain()


def lm_infinite(
    call: Call, watch: Watch | None = None, *, n_global: int, n_local: int, limit: int | None = None, chunk: int = 128
) -> tuple[Tensor, None]:
    """LM-Infinite: key j is visible to query i if 0 <= i - j < n_local, at its distance, or if j < n_global, at
    distance `limit` (None: n_local). A layer with a window sees of these what its window holds. chunk: queries taken
    at once, which changes no result; more of them leave the cache. Output (batch, length, heads, value_dim)."""
    limit = n_local if limit is None else limit
    attention = _Chunked(call, n_local, limit, watch)
    for start in range(0, attention.length, chunk):
        stop = min(start + chunk, attention.length)
        far = torch.arange(max(0, min(n_global, stop - n_local)), device=call.key.device)
        attention.attend(start, stop, far.expand(len(call.query), -1))
    return attention.output, None


def inf_llm(
    call: Call,
    watch: Watch | None = None,
    *,
    block: int,
    n_init: int,
    n_local: int,
    topk: int,
    repr_topk: int,
    chunk: int,
    published_quirk: bool = False,
) -> tuple[Tensor, None]:
    """InfLLM: beyond the last n_local keys, a query sees the first n_init, the `topk` blocks that its chunk asks for,
    and what is in no block yet, all at distance n_local - 1. Output (batch, length, heads, value_dim).

    Tokens from n_init on form blocks of `block`. A block exists for a chunk of queries once all of it lies outside
    the local window of the chunk's first query. Its representative is, for each query head, the mean of the keys of
    those `repr_topk` tokens that received the most local attention, summed over all queries before. A chunk chooses
    by the dot product of its mean query with the representatives, summed over heads, both before rotation.
    published_quirk: keys that left the local window within the chunk count twice for the queries that still see
    them locally, as in the published code.
    """
    attention = _Chunked(call, n_local, n_local - 1, watch, twice=published_quirk)
    batch, heads, length, head_dim = call.query.shape
    received = call.query.new_zeros(batch, heads, length, dtype=torch.float32)
    representatives = call.key.new_zeros(batch, heads, 0, head_dim)
    for start in range(0, length, chunk):
        stop = min(start + chunk, length)
        known = max(0, start - n_local + 1 - n_init) // block
        old = representatives.shape[2]
        if known > old:
            span = slice(n_init + old * block, n_init + known * block)
            keys = call.key[:, :, span].repeat_interleave(heads // call.key.shape[1], dim=1)
            best = received[:, :, span].unflatten(2, (-1, block)).topk(min(repr_topk, block), dim=-1).indices
            chosen = keys.unflatten(2, (-1, block)).gather(3, best[..., None].expand(*best.shape, head_dim))
            representatives = torch.cat([representatives, chosen.mean(3)], dim=2)
        mean = call.query[:, :, start:stop].mean(2)
        score = torch.einsum("bhd,bhnd->bn", mean, representatives)
        blocks = score.topk(min(topk, known), dim=-1).indices.sort(dim=-1).values
        gone = stop - n_local  # keys before this one have left the window of the chunk's last query
        first = torch.arange(max(0, min(n_init, gone)), device=score.device).expand(batch, -1)
        within = torch.arange(block, device=score.device)
        retrieved = (n_init + blocks[..., None] * block + within).flatten(1)
        rest = torch.arange(n_init + known * block, max(n_init + known * block, gone), device=score.device)
        far = torch.cat([first, retrieved, rest.expand(batch, -1)], dim=1)
        near, weights = attention.attend(start, stop, far)
        received[:, :, near] += weights.sum(2, dtype=torch.float32)
    return attention.output, None


def clipped(call: Call, watch: Watch | None = None, *, clip: int, chunk: int = 128) -> tuple[Tensor, None]:
    """All keys, at distance min(i - j, clip - 1): the distances of a text of `clip` tokens, but the number of keys of
    the whole one. Output (batch, length, heads, value_dim)."""
    return lm_infinite(call, watch, n_global=call.query.shape[2], n_local=clip, limit=clip - 1, chunk=chunk)


def thinned(
    call: Call, watch: Watch | None = None, *, keys: int, seed: int, clip: int | None = None, chunk: int = 128
) -> tuple[Tensor, None]:
    """At most `keys` keys, all at their true distances, or, with `clip`, at distance min(i - j, clip - 1).

    Query i sees the last ceil(keys / 2), itself among them. Of the keys before these it sees the floor(keys / 2) that
    come first in one seeded order of positions, which the first FIRST positions lead: all of them, if they are no
    more. The order is that of `seeded_order`, the same for all heads and layers. Output (batch, length, heads,
    value_dim).
    """
    length, device = call.query.shape[2], call.key.device
    n_local = keys - keys // 2
    order = seeded_order(length, seed)
    # Of the keys that have left the window of query i, those up to this place in the order.
    last = np.full(length, np.iinfo(np.int64).max)
    last[n_local:] = nth_smallest(order[: max(0, length - n_local)], keys // 2)
    attention = _Chunked(call, n_local, (clip or length) - 1, watch, true_below=clip or length)
    for start in range(0, length, chunk):
        stop = min(start + chunk, length)
        # The bound only falls, so the keys of the chunk's first query are those of all, but for the ones that join.
        far = np.flatnonzero(order[: max(0, stop - n_local)] <= last[start])
        chosen = torch.from_numpy(order[far] <= last[start:stop, None]).to(device)
        attention.attend(start, stop, torch.from_numpy(far).to(device).expand(len(call.query), -1), chosen)
    return attention.output, None


def seeded_order(length: int, seed: int) -> NDArray[np.int64]:
    """(length,): where each position comes in a seeded order, the first FIRST before all others. A longer text has the
    same numbers and more."""
    order = np.random.default_rng(seed).integers(FIRST, np.iinfo(np.int64).max, length)
    order[:FIRST] = np.arange(FIRST)[:length]
    return order


def nth_smallest(values: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """(length,): the n-th smallest of values[: i + 1] for each i, the largest number there is while they are fewer."""
    found, least = np.full(len(values), np.iinfo(np.int64).max), list[int]()
    for place, value in enumerate(values.tolist()):
        heapq.heappush(least, -value)
        if len(least) > n:
            heapq.heappop(least)
        if len(least) == n:
            found[place] = -least[0]
    return found


class _Chunked:
    """Chunks of queries against the keys near them and others.

    The near ones are the last `n_local` keys of each query, at their distances. The others, far ones, are visible once
    they are no longer near, or, `twice`, even before. They sit at distance `limit`, but at their own if that is less
    than `true_below`.
    """

    def __init__(
        self,
        call: Call,
        n_local: int,
        limit: int,
        watch: Watch | None,
        twice: bool = False,
        true_below: int = 0,
    ) -> None:
        self.call, self.n_local, self.watch, self.twice, self.true_below = call, n_local, watch, twice, true_below
        self.length = call.query.shape[2]
        self.window = self.length if call.window is None else call.window
        self.near_query = call.layout.rotate(call.query, call.cos, call.sin)
        self.near_key = call.layout.rotate(call.key, call.cos, call.sin)
        self.far_query, self.far_key = call.turned(call.query, limit), call.turned(call.key, 0)
        self.output = call.value.new_empty(len(call.query), self.length, call.query.shape[1], call.value.shape[-1])

    def attend(self, start: int, stop: int, far: Tensor, chosen: Tensor | None = None) -> tuple[slice, Tensor]:
        """Fill the output of the queries from `start` to `stop`; far (batch, n): positions of the far keys; chosen
        (queries, n): which of them each query sees (None: all).

        Returns where the near keys are, and their weights (batch, heads, queries, near keys)."""
        call, device = self.call, self.near_key.device
        near = slice(max(0, start - min(self.n_local, self.window) + 1), stop)
        query = torch.arange(start, stop, device=device)
        distance = query[:, None] - torch.arange(near.start, stop, device=device)
        hidden = (distance < 0) | (distance >= min(self.n_local, self.window))
        logits = _product(self.near_query[:, :, start:stop], self.near_key[:, :, near])
        value = call.value[:, :, near]
        if far.shape[1] and self.window > self.n_local:
            apart = query[:, None] - far[:, None]  # (batch, queries, far keys)
            unseen = (apart >= self.window) | (apart < (0 if self.twice else self.n_local))
            if chosen is not None:
                unseen |= ~chosen
            logits = torch.cat([logits, self._far_logits(start, stop, far, apart)], dim=-1)
            hidden = torch.cat([hidden.expand(len(far), -1, -1), unseen], dim=-1)[:, None]
            value = torch.cat([value, _take(call.value, far)], dim=2)
        logits *= call.scaling
        weights = _softmax(call, logits, hidden)
        if self.watch is not None:
            rows = self.watch.rows[(self.watch.rows >= start) & (self.watch.rows < stop)]
            if len(rows):
                own = (rows - start).to(device)
                seen = logits.masked_fill(hidden, -torch.inf)[:, :, own]
                self.watch.observe(call, rows, seen, weights[:, :, own])
        self.output[:, start:stop] = _product(weights, value.mT).transpose(1, 2)
        return near, weights[..., : stop - near.start]

    def _far_logits(self, start: int, stop: int, far: Tensor, apart: Tensor) -> Tensor:
        """Products (batch, heads, queries, n) with the far keys; apart (batch, queries, n): their true distances."""

        def product(query: Tensor, key: Tensor) -> Tensor:
            return _product(query[:, :, start:stop], _take(key, far))

        if self.true_below == 0:
            return product(self.far_query, self.far_key)
        true = product(self.near_query, self.near_key)
        if self.true_below >= self.length:
            return true
        return torch.where((apart < self.true_below)[:, None], true, product(self.far_query, self.far_key))


def _product(left: Tensor, right: Tensor) -> Tensor:
    """left (batch, heads, n, d) times right (batch, key heads, m, d) of each head's group -> (batch, heads, n, m)."""
    groups = left.unflatten(1, (right.shape[1], -1))
    return (groups.flatten(2, 3) @ right.mT).view(*groups.shape[:-1], right.shape[2]).flatten(1, 2)


def _take(x: Tensor, positions: Tensor) -> Tensor:
    """x (batch, key heads, length, d) at positions (batch, n) -> (batch, key heads, n, d)."""
    return x.gather(2, positions[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[-1]))


def _softmax(call: Call, logits: Tensor, hidden: Tensor) -> Tensor:
    """Attention weights (batch, heads, n, m) as the model makes them of logits: its softcap, mask and sinks."""
    if call.softcap is not None:
        logits = call.softcap * torch.tanh(logits / call.softcap)
    logits = logits.masked_fill(hidden, -torch.inf)
    if call.sinks is None:
        return logits.softmax(-1, dtype=torch.float32).to(call.value.dtype)
    sinks = call.sinks.to(logits).view(1, -1, 1, 1).expand(*logits.shape[:-1], 1)
    return torch.cat([logits, sinks], dim=-1).softmax(-1, dtype=torch.float32)[..., :-1].to(call.value.dtype)
