"""Measures of related papers on the same queries and keys, so that their readers can find their way.

Slash scores and the rank-one share: arXiv 2601.08297. Massive values: Jin et al. 2025 (arXiv
2502.01563). Rotary offset features: Jonasson 2025 (arXiv 2503.01832). docs/method/mechanism.md, "Related measures".
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary
from triaxis.logits.features import Features
from triaxis.logits.logits import logits
from triaxis.mechanism.complex_form import rows_of
from triaxis.mechanism.patterns import constancy, turns_over
from triaxis.mechanism.schema import RELATED

Array = NDArray[np.float64]

# A key pair whose mean holds at least half of its energy is an offset, if it turns less than once.
OFFSET_CONSTANCY = 0.5


def softmax(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Causal attention (length, length) from logits (length, length): rows sum to 1, 0 above the diagonal."""
    masked = np.where(np.tri(len(values), dtype=bool), values, -np.inf)
    weights = np.exp(masked - masked.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def diagonal_sums(matrix: NDArray[np.floating]) -> Array:
    """(length,): sum over i of matrix[i, i - d] for each d, of a lower triangular matrix (length, length)."""
    length = len(matrix)
    # Row i of the reversed matrix, put i places further right, has distance d in column length - 1 + d.
    sheared = np.zeros((length, 2 * length), dtype=matrix.dtype)
    sheared[:, :length] = matrix[:, ::-1]
    return sheared.reshape(-1)[:-length].reshape(length, -1)[:, length - 1 :].sum(0, dtype=np.float64)


def slash_scores(attention: NDArray[np.floating], first_token: bool) -> Array:
    """Mean attention on each sub-diagonal d = 0 to (length - 1) // 2, so that each averages half of the queries.

    Without the first token, its key's cell leaves each sub-diagonal; the softmax still has it.
    """
    length = len(attention)
    sums = diagonal_sums(attention)
    cells = length - np.arange(length, dtype=np.float64)
    if not first_token:
        sums, cells = sums - attention[:, 0], cells - 1
    return (sums / np.maximum(cells, 1))[: (length + 1) // 2]


def rank_one_share(vectors: Array) -> float:
    """The largest squared singular value of (n, head_dim) over the sum of all; NaN for zeros."""
    gram = vectors.T @ vectors
    energy = np.trace(gram)
    return float(np.linalg.eigvalsh(gram)[-1] / energy) if energy > 0 else np.nan


def massive_value(vectors: Array) -> tuple[float, float]:
    """The largest norm of a dimension of (n, head_dim) over the mean norm of all dimensions, and that dimension."""
    norms = np.sqrt(np.square(vectors).sum(0))
    top = int(norms.argmax())
    return (float(norms[top] / norms.mean()), float(top)) if norms[top] > 0 else (np.nan, np.nan)


def offset_features(key: Array, rotary: Rotary, length: int) -> tuple[float, float]:
    """How many pairs of keys (n, head_dim) are rotary offsets, and their share of the norm, sum of mean |k_m|.

    An offset turns less than once over `length` positions and is constant: OFFSET_CONSTANCY. NaN without pairs.
    """
    if not len(rotary.frequency):
        return np.nan, np.nan
    pairs = rotary.to_complex(key)
    offset = (turns_over(rotary, length) < 1) & (constancy(pairs) >= OFFSET_CONSTANCY)
    norm = np.abs(pairs).mean(0)
    return float(offset.sum()), float(norm[offset].sum() / norm.sum()) if norm.sum() > 0 else np.nan


def measure_vectors(kind: str, vectors: Array) -> dict[str, float]:
    """The columns that queries and keys share."""
    massive, dimension = massive_value(vectors)
    return {
        f"{kind}_rank_one": rank_one_share(vectors),
        f"{kind}_massive": massive,
        f"{kind}_massive_dimension": dimension,
    }


def relate_layer(features: Features, rotary: Rotary) -> pa.Table:
    """The rows of related/ for one (sequence, layer): each head with the first token, then without it."""
    length = features.query.shape[1]
    group = len(features.query) // len(features.key)
    query, key = features.query.astype(np.float64), features.key.astype(np.float64)
    rows = []
    for start in (0, 1):
        by_key = [
            measure_vectors("key", vectors[start:])
            | dict(zip(("offset_pairs", "offset_share"), offset_features(vectors[start:], rotary, length), strict=True))
            for vectors in key
        ]
        for head, vectors in enumerate(query):
            own = {"head": head, "first_token": start == 0}
            rows.append(own | measure_vectors("query", vectors[start:]) | by_key[head // group])
    for head in range(len(query)):
        one = features.query[head : head + 1], features.key[head // group : head // group + 1]
        attention = softmax(logits(*one, rotary)[0])
        for row in (rows[head], rows[len(query) + head]):
            scores = slash_scores(attention, bool(row["first_token"]))
            row |= {"slash_score": float(scores.max()), "slash_distance": int(scores.argmax())}
    parts = [{name: np.array([value]) for name, value in row.items()} for row in rows]
    return rows_of(features, parts, RELATED)
