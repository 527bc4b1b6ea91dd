"""Attention logits from queries and keys before rotation:

    W_ij = scale * (amplitude^2 * Re sum_m q_im conj(k_jm) exp(1j t_m (i - j)) + unrotated dot product)

docs/method/index.md, "Logit".
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary
from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.logits.features import Features
from triaxis.logits.schema import LOGITS

Array = NDArray[np.floating]


def logits(
    query: Array, key: Array, rotary: Rotary, positions: NDArray[np.integer] | None = None
) -> NDArray[np.float32]:
    """W for every pair of positions, before mask, sink and softcap.

    query: (heads, length, head_dim), key: (key heads, length, head_dim), both before rotation; query head h reads
    key head h // (heads / key heads). positions: (length,), None for 0, 1, ... Returns (heads, length, length) float32,
    cells above the diagonal included. The rotation is done in float64, so that only the products round.
    """
    heads, length, _ = query.shape
    positions = np.arange(length) if positions is None else positions
    rotated_query = (rotary.scale * rotary.rotate(query, positions)).astype(np.float32)
    rotated_key = rotary.rotate(key, positions).astype(np.float32)
    groups = rotated_query.reshape(len(key), heads // len(key), length, -1)
    return np.matmul(groups, rotated_key[:, None].swapaxes(-1, -2)).reshape(heads, length, length)


def sample_positions(length: int, cells: int) -> NDArray[np.int64]:
    """Every so many-th position of a sequence, the first one among them: as many as have at most `cells` causal cells
    among one another, of queries and keys alike. Their distances are evenly spaced too."""
    most = (math.isqrt(8 * cells + 1) - 1) // 2
    return np.arange(0, length, -(-length // most))


class CausalCells:
    """The rows of logits/ for one (sequence, layer): all but the logits is the same for each, so built once."""

    def __init__(self, heads: list[int], positions: NDArray[np.int64]) -> None:
        """positions: of the queries and keys that the matrices have, ascending."""
        self.query, self.key = np.tril_indices(len(positions))
        self.rows = len(heads) * len(self.query)
        query, key = (positions[index].astype(np.int32) for index in (self.query, self.key))
        self.columns = [
            pa.array(np.repeat(np.array(heads, dtype=np.int16), len(self.query))),
            pa.array(np.tile(query, len(heads))),
            pa.array(np.tile(key, len(heads))),
        ]

    def table(self, sequence: int, layer: int, values: NDArray[np.float32]) -> pa.Table:
        """values: (heads, positions, positions) logits -> their causal cells, sorted by head, query, key."""
        logit = values[:, self.query, self.key].reshape(-1)
        constant = [
            pa.array(np.full(self.rows, sequence, dtype=np.int32)),
            pa.array(np.full(self.rows, layer, dtype=np.int16)),
        ]
        return pa.Table.from_arrays([*constant, *self.columns, pa.array(logit)], schema=LOGITS)


def chosen_heads(heads: list[int] | None, count: int) -> list[int]:
    """The query heads to keep of `count`, None for all. Raises UserError if one is out of range."""
    if beyond := [head for head in heads or [] if head >= count]:
        raise UserError(f"logits.heads {beyond} are out of range: the model has heads 0 to {count - 1}")
    return list(range(count)) if heads is None else heads


def dump_logits(
    features: Iterable[Features], rotaries: dict[int, Rotary], heads: list[int] | None, most: int | None = None
) -> Iterator[pa.Table]:
    """The rows of logits/, a table for each (sequence, layer) of `features`.

    heads: those to keep, None for all; most: causal cells of a matrix, None for all (`sample_positions`). Raises
    UserError if a head is out of range.
    """
    cells: CausalCells | None = None
    for layer in features:
        count, length, _ = layer.query.shape
        positions = np.arange(length) if most is None else sample_positions(length, most)
        chosen = chosen_heads(heads, count)
        cells = cells or CausalCells(chosen, positions)
        values = logits(layer.query[:, positions], layer.key[:, positions], rotaries[layer.layer], positions)
        yield cells.table(layer.sequence, layer.layer, values if heads is None else values[chosen])


@contextmanager
def writer(path: str | Path, metadata: dict[str, str]) -> Iterator[pq.ParquetWriter]:
    """A writer of logits/: 3.5 bytes a row. The index columns are runs, which dictionaries store in nothing."""
    with parquet.parquet_writer(
        path,
        LOGITS,
        metadata,
        compression_level=1,
        use_dictionary=["sequence", "layer", "head", "query", "key"],
        column_encoding={"logit": "BYTE_STREAM_SPLIT"},
    ) as out:
        yield out
