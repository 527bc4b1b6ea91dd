"""The dummy-distance probe of one head beside the plain einsum over (query, distance, key, pair) alone.

The probe evaluates the grid as one real matrix product and then fits it, subtracts f and g and checks the bound on
every cell; the einsum only evaluates the grid. Both in float64, in turns, in one process.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from triaxis.mechanism import closed_form, make_grid, make_room, probe

LENGTH, PAIRS, ROUNDS = 256, 32, 9


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure() -> list[tuple[str, str, str]]:
    """One row: what, measured, asked for."""
    generator = np.random.default_rng(0)
    grid = make_grid(LENGTH, 16, 128, 128)
    query, key = generator.standard_normal((2, LENGTH, PAIRS)) + 1j * generator.standard_normal((2, LENGTH, PAIRS))
    turn = np.exp(1j * np.multiply.outer(grid.distances, 1e5 ** -(np.arange(PAIRS) / PAIRS)))
    form = closed_form(key[grid.keys], key.mean(0), PAIRS, turn)
    queries = query[grid.queries]
    room = make_room(16, 128, 128)  # the pipeline makes it once a layer

    def plain() -> np.ndarray:
        return np.einsum("qm,dm,km->qdk", queries, turn, form.key.conj()).real

    np.testing.assert_allclose(plain(), form.logits(queries), atol=1e-9)
    rounds = [(seconds(plain), seconds(lambda: probe(queries, form, room))) for _ in range(ROUNDS)]
    einsum, ours = (statistics.median(times) for times in zip(*rounds, strict=True))
    return [("plain einsum of the grid / our probe, fit and bound included", f"{einsum / ours:.1f}", "-")]


if __name__ == "__main__":
    for row in measure():
        print(*row, sep=" | ")
