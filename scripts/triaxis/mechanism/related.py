"""Measures of related papers on the same queries and keys, so that their readers can find their way.

Slash scores and the rank-one share: arXiv 2601.08297. Massive values: Jin et al. 2025 (arXiv 2502.01563). Rotary offset
features: Jonasson 2025 (arXiv 2503.01832). docs/method/mechanism.md, "Related measures".

All are linear in the length but the slash score, which needs attention: it is taken on some queries alone, exactly.
"""

import torch

from triaxis.mechanism.components import by_key_head
from triaxis.mechanism.patterns import Shape

Tensor = torch.Tensor

# A key pair whose mean holds at least half of its energy is an offset, if it turns less than once.
OFFSET_CONSTANCY = 0.5

# Cells of attention that are held at once.
CELLS = 1 << 22


def attention_of(query: Tensor, key: Tensor, queries: Tensor) -> Tensor:
    """The causal attention of some queries: (heads, queries, length), rows of sum 1, 0 after the query.

    query: (heads, queries, dims), rotated and scaled, of the positions `queries`; key: (key heads, length, dims),
    rotated.
    """
    logits = (by_key_head(query, len(key)) @ key[:, None].mT).flatten(0, 1)
    later = torch.arange(key.shape[1], device=key.device) > queries[:, None]
    return logits.masked_fill_(later, -torch.inf).softmax(-1)


def counted_distances(queries: Tensor) -> int:
    """The distances that have a mean are 0 to this number, left out: those that more than half of `queries` have."""
    return int(queries.median()) + 1


def diagonal_sums(attention: Tensor, queries: Tensor, distances: int) -> Tensor:
    """sum over queries i of attention[i, i - d], (heads, distances) float64; attention: (heads, queries, length)."""
    keys = queries[:, None] - torch.arange(distances, device=queries.device)
    values = attention.gather(2, keys.clamp(min=0).expand(len(attention), -1, -1))
    return values.masked_fill_(keys < 0, 0).sum(1, dtype=torch.float64)


def slash_scores(query: Tensor, key: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Mean attention on each sub-diagonal, (heads, counted distances), over those of `queries` that have it; second,
    without the first token's key, which the softmax still has.

    query: (heads, queries, dims), rotated and scaled, at the positions `queries`, ascending; key: (key heads, length,
    dims), rotated.
    """
    distances = counted_distances(queries)
    sums = torch.zeros(len(query), distances, dtype=torch.float64, device=query.device)
    first = torch.zeros_like(sums)
    step = max(1, CELLS // (len(query) * key.shape[1]))
    for own, some in zip(query.split(step, 1), queries.split(step), strict=True):
        attention = attention_of(own, key, some)
        sums += diagonal_sums(attention, some, distances)
        near = some < distances
        first[:, some[near]] = attention[:, near, 0].double()
    cells = (queries[:, None] >= torch.arange(distances, device=queries.device)).sum(0)
    firsts = torch.zeros_like(cells)
    firsts[queries[queries < distances]] = 1
    return sums / cells, (sums - first) / (cells - firsts).clamp(min=1)


def energies(vectors: Tensor) -> Tensor:
    """sum over n of v v': (heads, n, head_dim) -> (heads, head_dim, head_dim)."""
    return vectors.mT @ vectors


def rank_one_share(gram: Tensor) -> Tensor:
    """(heads,): of vectors with these `energies`, the largest squared singular value over the sum of all; NaN for
    zeros."""
    energy = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.where(energy > 0, torch.linalg.eigvalsh(gram)[..., -1] / energy, torch.nan)


def massive_value(gram: Tensor) -> tuple[Tensor, Tensor]:
    """(heads,) each: of vectors with these `energies`, the largest norm of a dimension over the mean norm of all
    dimensions, and that dimension; NaN for zeros."""
    norms = gram.diagonal(dim1=-2, dim2=-1).sqrt()
    largest, dimension = norms.max(-1)
    return (
        torch.where(largest > 0, largest / norms.mean(-1), torch.nan),
        torch.where(largest > 0, dimension.double(), torch.nan),
    )


def offset_features(keys: Shape, turns: Tensor) -> tuple[Tensor, Tensor]:
    """(heads,) each: how many pairs of the keys are rotary offsets, and their share of the norm, sum of mean |k_m|; NaN
    without pairs, and a share of nothing.

    turns: (pairs,), over the sequence. An offset turns less than once and is constant: OFFSET_CONSTANCY.
    """
    offset = (turns < 1) & (keys.constancy >= OFFSET_CONSTANCY)
    total = keys.norm.sum(-1)
    count = offset.sum(-1).double() if len(turns) else torch.full_like(total, torch.nan)
    return count, torch.where(total > 0, (keys.norm * offset).sum(-1) / total, torch.nan)
