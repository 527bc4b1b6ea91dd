"""The dummy-distance probe of one head beside the plain einsum over (query, distance, key, pair) alone.

The probe evaluates the grid as one real matrix product and then fits it, subtracts f and g and checks the bound on
every cell; the einsum only evaluates the grid. Both in float64, on the default grid, with random vectors.
"""

import numpy as np

from benchmarks import interleaved
from triaxis.mechanism.additivity import additivity_of, closed_form, make_buffer, make_grid

LENGTH, PAIRS, THETA = 256, 32, 1e5


def measure() -> list[tuple[str, str, str]]:
    generator = np.random.default_rng(0)
    grid = make_grid(LENGTH, 16, 128, 128)
    query, key = generator.standard_normal((2, LENGTH, PAIRS)) + 1j * generator.standard_normal((2, LENGTH, PAIRS))
    turn = np.exp(1j * np.multiply.outer(grid.distances, THETA ** -(np.arange(PAIRS) / PAIRS)))
    form = closed_form(key[grid.keys], key.mean(0), PAIRS, turn)
    queries = query[grid.queries]
    buffer = make_buffer(len(grid.queries), len(grid.distances), len(grid.keys))  # the pipeline makes it once a layer

    def plain() -> np.ndarray:
        return np.einsum("qm,dm,km->qdk", queries, turn, form.key.conj()).real

    np.testing.assert_allclose(plain(), form.logits(queries), atol=1e-9)
    einsum, ours = interleaved(plain, lambda: additivity_of(queries, form, buffer), rounds=9)
    return [("plain einsum of the grid / our additivity_of, fit and bound included", f"{einsum / ours:.1f}", "-")]
