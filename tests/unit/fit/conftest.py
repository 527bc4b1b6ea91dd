"""Files of sums, as the pipeline writes them, of matrices that the tests make up."""

import numpy as np
import pytest

from triaxis.base import parquet
from triaxis.fit.groups import draw_groups
from triaxis.fit.schema import SUMS
from triaxis.fit.sums import sum_logits

LENGTH, PREFIX = 16, 9
SHAPE = (2, 3, 2)  # sequences, layers, heads


def some_matrices(seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    sizes = 10 ** generator.uniform(-3, 3, (*SHAPE, 1, 1))
    return (sizes * generator.standard_normal((*SHAPE, LENGTH, LENGTH))).astype(np.float32)


@pytest.fixture
def sums_file(tmp_path, write_logits):
    """Write the sums of matrices, and of their first tokens, as the pipeline does."""

    def write(matrices: np.ndarray):
        logits = write_logits(tmp_path / "logits.parquet", matrices)
        path = tmp_path / "sums.parquet"
        rows = (
            batch
            for length in (LENGTH, PREFIX)
            for batch in sum_logits([logits], draw_groups(length, 0), threads=2, memory_mb=512, spill=tmp_path)
        )
        parquet.write_parquet(path, rows, SUMS, {})
        return path

    return write
