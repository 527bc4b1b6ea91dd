"""Queries and keys before rotation, of one layer and one sequence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Features:
    """One layer's vectors of one sequence: query (heads, length, head_dim), key (key heads, length, head_dim)."""

    sequence: int
    layer: int
    query: NDArray[np.float32]
    key: NDArray[np.float32]
