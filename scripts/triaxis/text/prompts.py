"""Prompts of random tokens, each of which comes twice: what a head finds again there, it finds by their order alone.

Olsson et al. 2022 (arXiv 2209.11895); docs/method/heads.md, "Prompts".
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from triaxis.base.errors import UserError
from triaxis.text.schema import SEQUENCES


def as_ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending integers as the ranges (first, end) that they fill, ends left out."""
    values = np.asarray(numbers, dtype=np.int64)
    starts = np.flatnonzero(np.diff(values, prepend=-2) != 1)
    ends = np.flatnonzero(np.diff(values, append=-2) != 1)
    return [(int(values[start]), int(values[end]) + 1) for start, end in zip(starts, ends, strict=True)]


def repeated_prompts(
    ordinary: Sequence[Sequence[int]], prefix: Sequence[int], period: int, numbers: range, seed: int
) -> pa.Table:
    """The rows of prompts/ called `numbers`: `prefix`, then `period` random tokens, then the same ones again.

    ordinary: the tokens that are drawn from, as `as_ranges` has them. None is drawn twice, unless there are too few.
    Each prompt has a seed of its own, so more prompts leave the others as they are. Raises UserError without tokens.
    """
    tokens = np.concatenate([np.arange(first, end) for first, end in [(0, 0), *ordinary]])
    if not len(tokens):
        raise UserError("the tokenizer has special tokens only: name a model whose tokenizer has words")
    texts = [[*prefix, *draw, *draw] for draw in (_draw(tokens, period, [seed, number]) for number in numbers)]
    none = pa.nulls(len(texts), pa.int32())
    columns = [list(numbers), none, none, [len(text) for text in texts], texts]
    return pa.table([*columns, pa.nulls(len(texts), SEQUENCES.field("texts").type)], names=SEQUENCES.names)


def _draw(tokens: NDArray[np.int64], count: int, seed: Sequence[int]) -> list[int]:
    return np.random.default_rng(seed).choice(tokens, count, replace=len(tokens) < count).tolist()
