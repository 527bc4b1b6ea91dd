"""Queries and keys in, rows of head_attention/ and prompt_scores/ out."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch

from triaxis.attention.pairs import as_real
from triaxis.heads.attention import looks, repeats
from triaxis.heads.diagonals import diagonal_trend
from triaxis.heads.schema import HEAD_ATTENTION, PROMPT_SCORES
from triaxis.mechanism.complex_form import evenly
from triaxis.mechanism.components import turns_at
from triaxis.mechanism.heads import Heads
from triaxis.mechanism.layers import rows_of

Tensor = torch.Tensor


@torch.inference_mode()
def attention_rows(heads: Heads, queries: int) -> pa.Table:
    """The rows of head_attention/ of some heads; attention is taken on at most so many `queries`."""
    query, key = _rotated(heads)
    chosen = torch.from_numpy(evenly(heads.length, queries))
    # Attention in float32, as models take it.
    values = looks(as_real(query[:, chosen]).float(), as_real(key).float(), chosen)
    return _rows(heads, values | {"diagonal_trend": diagonal_trend(query, key)}, HEAD_ATTENTION)


@torch.inference_mode()
def prompt_rows(heads: Heads, period: int) -> pa.Table:
    """The rows of prompt_scores/ of some heads, in prompts whose last `period` tokens are those before them again."""
    query, key = _rotated(heads)
    return _rows(heads, repeats(as_real(query).float(), as_real(key).float(), period), PROMPT_SCORES)


def _rotated(heads: Heads) -> tuple[Tensor, Tensor]:
    """Queries (heads, length, components) and keys (key heads, length, components) after rotation."""
    turn = turns_at(heads.rotary, torch.arange(heads.length))
    return heads.query * turn, heads.key * turn


def _rows(heads: Heads, values: Mapping[str, Tensor], schema: pa.Schema) -> pa.Table:
    numbers: dict[str, np.ndarray] = {name: getattr(heads, name) for name in ("sequence", "layer", "head")}
    return rows_of(numbers | {name: value.numpy() for name, value in values.items()}, schema)
