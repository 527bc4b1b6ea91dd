"""Sums of logits that a model hands to its softmax, taken densely as it runs, so that no logit is ever written.

The same rows of sums/ as sums.py takes from files of logits/ with DuckDB. Where there are features, from_features.py
takes them without a matrix.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from triaxis.fit.axes import device_with_doubles
from triaxis.fit.groups import all_counts, draw_groups
from triaxis.fit.schema import SUMS

Tensor = torch.Tensor


def over_axes(cells: Tensor) -> Tensor:
    """(..., length, length), 0 above the diagonal -> (..., 3, length): sums over each distance, key and query."""
    length = cells.shape[-1]
    # Reversed and one column longer, a diagonal becomes a column when the same cells are read `length` to a row.
    skewed = torch.nn.functional.pad(cells.flip(-1), (0, 1)).flatten(-2).unflatten(-1, (length + 1, length))
    return torch.stack([skewed.sum(-2).roll(1, -1), cells.sum(-2), cells.sum(-1)], dim=-2)


class MatrixSums:
    """Turns logit matrices into the rows of sums/, of their first tokens too."""

    def __init__(self, lengths: Sequence[int], heldout_seed: int, device: torch.device) -> None:
        """lengths: how many tokens are summed. The sums are taken in float64, on the CPU where `device` has none."""
        self.device = device_with_doubles(device)
        self.heldout: dict[int, Tensor] = {}
        self.counts: dict[int, list[NDArray[np.int64]]] = {}
        for length in lengths:
            groups = draw_groups(length, heldout_seed)
            self.heldout[length] = torch.from_numpy(groups.hold_out(*np.ogrid[:length, :length])).to(self.device)
            # In the order of the rows: distance, key, query.
            self.counts[length] = [counts[[0, 2, 1]] for counts in (all_counts(length), groups.counts())]

    def rows(self, sequence: int, layer: int, heads: list[int], logits: Tensor) -> Iterator[pa.Table]:
        """logits: (heads, length, length), of the query heads called `heads` -> their rows, a table a length, sorted
        by head, axis ('all', 'distance', 'key', 'query') and index."""
        for length in self.heldout:
            yield self._rows(sequence, layer, heads, logits[:, :length, :length], length)

    def _rows(self, sequence: int, layer: int, heads: list[int], logits: Tensor, length: int) -> pa.Table:
        w = logits.to(self.device).double().tril()
        parts = [w, w * w]
        parts += [part * self.heldout[length] for part in parts]
        total, squares, heldout_total, heldout_squares = (over_axes(part).cpu().numpy() for part in parts)
        count, heldout_count = (np.broadcast_to(own, total.shape) for own in self.counts[length])
        n = len(total)

        def column(levels: np.ndarray) -> np.ndarray:
            """(heads, 3, length) -> a column, each head's levels behind the sum of its queries."""
            return np.concatenate([levels[:, 2].sum(-1, keepdims=True), levels.reshape(n, -1)], axis=1).reshape(-1)

        index = np.concatenate([[-1], np.tile(np.arange(length), 3)])
        rows = len(index)
        axis = pa.DictionaryArray.from_arrays(
            np.tile(np.repeat(np.arange(4, dtype=np.int8), [1, length, length, length]), n),
            ["all", "distance", "key", "query"],
        )
        columns = {
            "sequence": np.full(n * rows, sequence),
            "layer": np.full(n * rows, layer),
            "head": np.repeat(heads, rows),
            "prefix": np.full(n * rows, length),
            "axis": axis.cast(pa.string()),
            "index": pa.array(np.tile(index, n), mask=np.tile(index < 0, n)),
            "count": column(count),
            "total": column(total),
            "squares": column(squares),
            "heldout_count": column(heldout_count),
            "heldout_total": column(heldout_total),
            "heldout_squares": column(heldout_squares),
        }
        return pa.table(columns).cast(SUMS)
