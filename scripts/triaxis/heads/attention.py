"""Where each head looks: the attention of some queries, each exactly, over all its keys.

Attention is the softmax of the logits over all keys up to the query, without softcap, sinks or windows. First key: Xiao
et al. 2024 (arXiv 2309.17453), its share of queries Gu et al. 2025 (arXiv 2410.10781); token before, induction and
duplicate tokens: Olsson et al. 2022 (arXiv 2209.11895); slash scores: arXiv 2601.08297. docs/method/heads.md, "Where it
looks".
"""

from collections.abc import Iterator

import torch

from triaxis.mechanism.components import by_key_head

Tensor = torch.Tensor

# Cells of attention that are held at once.
CELLS = 1 << 22

# The attention above which a query is said to look at the first key.
SINK = 0.3


def attention_of(query: Tensor, key: Tensor, queries: Tensor) -> Tensor:
    """The causal attention of some queries: (heads, queries, length), rows of sum 1, 0 after the query.

    query: (heads, queries, dims), rotated and scaled, of the positions `queries`; key: (key heads, length, dims),
    rotated.
    """
    logits = (by_key_head(query, len(key)) @ key[:, None].mT).flatten(0, 1)
    later = torch.arange(key.shape[1], device=key.device) > queries[:, None]
    return logits.masked_fill_(later, -torch.inf).softmax(-1)


def in_pieces(query: Tensor, key: Tensor, queries: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """`attention_of` some of the queries at a time, each with their positions: CELLS at once."""
    step = max(1, CELLS // (len(query) * key.shape[1]))
    for own, some in zip(query.split(step, 1), queries.split(step), strict=True):
        yield attention_of(own, key, some), some


def counted_distances(queries: Tensor) -> int:
    """The distances that have a mean are 0 to this number, left out: those that more than half of `queries` have."""
    return int(queries.median()) + 1


def diagonal_sums(attention: Tensor, queries: Tensor, distances: int) -> Tensor:
    """sum over queries i of attention[i, i - d], (heads, distances) float64; attention: (heads, queries, length)."""
    keys = queries[:, None] - torch.arange(distances, device=queries.device)
    values = attention.gather(2, keys.clamp(min=0).expand(len(attention), -1, -1))
    return values.masked_fill_(keys < 0, 0).sum(1, dtype=torch.float64)


def looks(query: Tensor, key: Tensor, queries: Tensor) -> dict[str, Tensor]:
    """Where the heads look, (heads,) each, by the columns of head_attention/.

    query: (heads, queries, dims), rotated and scaled, at the positions `queries`, ascending; key: (key heads, length,
    dims), rotated. Means are over the queries after the first, which sees itself alone: NaN without any. slash_score
    and slash_distance: the largest mean on a sub-diagonal that `counted_distances` has, over the queries that have it.
    """
    distances = counted_distances(queries)
    diagonals = torch.zeros(len(query), distances, dtype=torch.float64)
    sums = torch.zeros(5, len(query), dtype=torch.float64)
    for attention, some in in_pieces(query, key, queries):
        diagonals += diagonal_sums(attention, some, distances)
        sums += _sums(attention[:, some > 0], some[some > 0])
    means = dict(zip(("first_key", "sink_share", "previous_token", "entropy", "distance_attended"), sums, strict=True))
    count = int((queries > 0).sum())
    cells = (queries[:, None] >= torch.arange(distances)).sum(0)
    score, distance = (diagonals / cells).max(-1)
    return {name: value / count if count else torch.full_like(value, torch.nan) for name, value in means.items()} | {
        "slash_score": score,
        "slash_distance": distance.double(),
    }


def _sums(attention: Tensor, queries: Tensor) -> Tensor:
    """Over queries after the first: attention on the first key, whether it is above SINK, attention on the token
    before, entropy (nats), and distance attended (tokens); (5, heads)."""
    first = attention[:, :, 0]
    before = attention.gather(2, (queries - 1)[:, None].expand(len(attention), -1, 1))[..., 0]
    entropy = torch.special.entr(attention).sum(-1)
    distance = queries - attention @ torch.arange(attention.shape[2], dtype=attention.dtype)
    parts = (first, first > SINK, before, entropy, distance)
    return torch.stack([part.sum(1, dtype=torch.float64) for part in parts])


def repeats(query: Tensor, key: Tensor, period: int) -> dict[str, Tensor]:
    """Attention in prompts whose last `period` tokens are those before them again, (heads,) each, by the columns of
    prompt_scores/: mean over these last tokens of the attention on the same token a period before (duplicate_token) and
    on the one that followed it there (induction).

    query: (heads, length, dims), rotated and scaled; key: (key heads, length, dims), rotated; of all positions.
    """
    last = torch.arange(query.shape[1] - period, query.shape[1])
    sums = torch.zeros(2, len(query), dtype=torch.float64)
    for attention, some in in_pieces(query[:, last], key, last):
        for total, keys in zip(sums, (some - period, some - period + 1), strict=True):
            total += attention.gather(2, keys[:, None].expand(len(attention), -1, 1)).sum((1, 2), dtype=torch.float64)
    return dict(zip(("duplicate_token", "induction"), sums / period, strict=True))
