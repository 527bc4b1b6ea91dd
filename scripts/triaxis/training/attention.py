"""Where heads look: the attention that the token before and the first token get, and how far it is spread.

Attention is the softmax of the logits over all keys up to the query, without softcap, sinks or windows.
docs/method/training.md, "What is measured at each step".
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import entr

from triaxis.attention.rope import Rotary
from triaxis.logits.features import Features
from triaxis.training.schema import CHECKPOINT_ATTENTION

# Queries whose attention exists at once.
CHUNK = 256


def look_back(query: NDArray[np.float32], key: NDArray[np.float32], rotary: Rotary) -> NDArray[np.float64]:
    """(3, heads): mean attention on the token before, on the first token, and mean entropy of the attention in nats,
    over the queries 1 to length - 1.

    query (heads, length, head_dim), key (key heads, length, head_dim), before rotation. NaN for a single token.
    """
    heads, length, _ = query.shape
    positions = np.arange(length)
    rotated_query = (rotary.scale * rotary.rotate(query, positions)).astype(np.float32)
    rotated_key = rotary.rotate(key, positions).astype(np.float32).repeat(heads // len(key), axis=0)
    sums = np.zeros((3, heads))
    for start in range(1, length, CHUNK):
        own = positions[start : start + CHUNK]
        logits = rotated_query[:, own] @ rotated_key[:, : own[-1] + 1].swapaxes(1, 2)
        logits[:, positions[: own[-1] + 1] > own[:, None]] = -np.inf
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        rows = np.arange(len(own))
        looks = (weights[:, rows, own - 1], weights[:, :, 0], entr(weights).sum(-1))
        sums += [look.sum(1, dtype=np.float64) for look in looks]
    return sums / (length - 1) if length > 1 else np.full((3, heads), np.nan)


def uniform(length: int) -> float:
    """What attention that is spread evenly gives one key, mean over the queries 1 to length - 1."""
    return float((1 / np.arange(2, length + 1)).mean()) if length > 1 else float("nan")


def look_back_of_layer(features: Features, rotary: Rotary) -> pa.Table:
    """The rows of checkpoint_attention/ for one (sequence, layer)."""
    previous, first, entropy = look_back(features.query, features.key, rotary)
    count = len(previous)
    return pa.table(
        [
            pa.array(np.full(count, features.sequence, np.int32)),
            pa.array(np.full(count, features.layer, np.int16)),
            pa.array(np.arange(count, dtype=np.int16)),
            previous,
            first,
            entropy,
            np.full(count, uniform(features.query.shape[1])),
        ],
        schema=CHECKPOINT_ATTENTION,
    )
