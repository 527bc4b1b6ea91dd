"""Additivity of one layer, exactly, beside a grid of cells; and the whole mechanism against the length.

The grid is that of the first edition: 16 queries, 128 keys, 128 distances, evaluated as one real matrix product and
fitted. The exact form takes all queries, keys and distances. Random vectors, 9 heads on 3 key heads of 64 dimensions.
"""

import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import torch

from benchmarks import interleaved, seconds
from triaxis.attention.rope import Rotary
from triaxis.logits.features import Features
from triaxis.mechanism.additivity import Additivity, additivity_of, grid_of, varying
from triaxis.mechanism.closed_form import closed_form
from triaxis.mechanism.complex_form import evenly, heads_as_components, turns_at
from triaxis.mechanism.components import sizes
from triaxis.mechanism.heads import batches, heads_of
from triaxis.mechanism.measure import Mechanism

LENGTH, PAIRS, HEADS, KEY_HEADS = 256, 32, 9, 3
QUERIES, CELLS = 16, 128
LENGTHS = (1024, 4096, 16384, 65536)
ROTARY = Rotary(
    0.125, 1.0, np.arange(PAIRS), np.arange(PAIRS, 2 * PAIRS), 1e5 ** -(np.arange(PAIRS) / PAIRS), np.arange(0)
)


def measure() -> list[tuple[str, str, str]]:
    torch.set_num_threads(1)
    return [against_a_grid(), *against_length()]


def make_layer(length: int) -> Features:
    generator = np.random.default_rng(0)
    query, key = (
        generator.standard_normal((heads, length, 2 * PAIRS)).astype(np.float32) + 0.3 for heads in (HEADS, KEY_HEADS)
    )
    return Features(0, 0, query, key)


def against_a_grid() -> tuple[str, str, str]:
    """r_additive of a layer: some queries on some cells, cell by cell, and all of them on all."""
    layer = make_layer(LENGTH)
    chosen = evenly(LENGTH, CELLS)

    def grid() -> list[np.ndarray]:
        """(queries,) of each head: the correlation of the cells with row mean + column mean - mean."""
        turn, found = turns_at(ROTARY, chosen), []
        for _, query, key in heads_as_components(layer, ROTARY):
            w = closed_form(key[chosen], turn, PAIRS, key.mean(0), turn.mean(0)).logits(query[-QUERIES:])
            additive = w.mean(2).var(1) + w.mean(1).var(1)
            found.append(np.sqrt(additive / w.var((1, 2))))
        return found

    def exact() -> Additivity:
        heads = heads_of([(layer, slice(0, KEY_HEADS))], ROTARY)
        turns = varying(torch.from_numpy(turns_at(ROTARY, np.arange(LENGTH))))
        return additivity_of(heads.query, sizes(heads.query), grid_of(heads.key, turns))

    np.testing.assert_allclose(np.mean(grid()), exact().r_additive.mean(), atol=0.02)
    cells, ours = interleaved(grid, exact, rounds=9)
    what = f"additivity of a layer, {QUERIES} queries on {CELLS} x {CELLS} cells / all {LENGTH} queries, exactly"
    return what, f"{cells / ours:.1f}", "-"


def against_length() -> list[tuple[str, str, str]]:
    """Seconds and peak memory of all four stages of a layer, each length in a process of its own."""
    times, peaks = [], []
    for length in LENGTHS:
        with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
            time, peak = fresh.submit(run_layer, length).result()
        times.append(time / HEADS)
        peaks.append(peak)
    shown = ", ".join(f"{length:,}" for length in LENGTHS)
    exponents = [np.polyfit(np.log(LENGTHS), np.log(values), 1)[0] for values in (times, peaks)]
    return [
        (
            f"mechanism, seconds a head ({shown} tokens)",
            f"{', '.join(f'{time:.2f}' for time in times)}; grows as length^{exponents[0]:.2f}",
            "at most 1.15",
        ),
        (
            "its peak memory beyond the vectors and the libraries (the same)",
            f"{', '.join(f'{peak / 2**20:,.0f}' for peak in peaks)} MiB; grows as length^{exponents[1]:.2f}",
            "at most 1.1",
        ),
    ]


def run_layer(length: int) -> tuple[float, int]:
    """Seconds, and bytes of peak memory beyond what there was before, of one layer."""
    torch.set_num_threads(1)
    mechanism, layer = Mechanism(length, CELLS), make_layer(length)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def run() -> None:
        for heads in batches([layer], {0: ROTARY}):
            mechanism.tables(heads)

    time = seconds(run)
    return time, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
