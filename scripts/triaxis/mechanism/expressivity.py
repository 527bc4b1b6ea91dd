"""What RoPE could express: the separation into position and meaning is learned, not forced.

At the frequencies 2 pi m / N, one query and a key of its own for each row reach any table of N distances exactly, by
the inverse discrete Fourier transform; at a model's own frequencies, least squares says how near random targets can
be reached. Han & Ji 2025, section 4, theorem 1; docs/method/mechanism.md, "Expressivity".
"""

import numpy as np
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary, frequency_groups
from triaxis.mechanism.complex_form import Complex, inner

Array = NDArray[np.float64]

# Columns of a basis that others give to this precision are not counted: to use them takes vectors this much larger.
RANK_TOLERANCE = 1e-8
TARGETS = ("noise", "walk")
COUNT = 64
SEED = 0


def reach_table(table: Array) -> tuple[Array, Complex, Complex]:
    """Frequencies, a query and keys with w(d, query, keys[n]) = table[n, d] exactly, for any table (keys, distances).

    Returns frequency (pairs,), query (pairs,) and keys (keys, pairs), pairs = distances // 2 + 1: no more are needed,
    since the table is real and every frequency but 0 and N / 2 stands for two.
    """
    size = table.shape[1]
    spectrum = np.fft.rfft(table, axis=1) / size
    frequency = 2 * np.pi * np.arange(spectrum.shape[1]) / size
    twice = np.where((np.arange(spectrum.shape[1]) == 0) | (2 * np.arange(spectrum.shape[1]) == size), 1.0, 2.0)
    return frequency, twice.astype(np.complex128), spectrum.conj()


def table_of(frequency: Array, query: Complex, keys: Complex, distances: int) -> Array:
    """w(d, query, keys[n]) for d = 0 to distances - 1: (keys, distances); query (pairs,), keys (keys, pairs)."""
    turn = np.exp(1j * np.multiply.outer(np.arange(distances), frequency))
    return inner(query * turn, keys).T


def reach_error(table: Array) -> float:
    """Largest error of `reach_table` on a table (keys, distances), relative to its largest value."""
    frequency, query, keys = reach_table(table)
    return float(np.abs(table_of(frequency, query, keys, table.shape[1]) - table).max() / np.abs(table).max())


def basis(rotary: Rotary, distances: int) -> Array:
    """(distances, functions): what a layer can make of distance, a cosine and a sine a pair, and a constant if a
    dimension is unrotated."""
    angle = np.multiply.outer(np.arange(distances), rotary.frequency)
    constant = np.ones((distances, min(len(rotary.unrotated), 1)))
    return np.concatenate([np.cos(angle), np.sin(angle), constant], axis=1)


def project(functions: Array, targets: Array) -> tuple[Array, int, Array]:
    """Least squares of targets (n, distances) by functions (distances, functions).

    Returns what is reached (n, distances), the rank at RANK_TOLERANCE, and the norms (n,) of the coefficients.
    """
    left, size, _ = np.linalg.svd(functions, full_matrices=False)
    kept = size > RANK_TOLERANCE * size.max(initial=0)
    weights = targets @ left[:, kept]
    return weights @ left[:, kept].T, int(kept.sum()), np.linalg.norm(weights / size[kept], axis=1)


def interaction_share(table: Array) -> float:
    """The share of the variance of a table that no sum of a function of its row and one of its column has."""
    centred = table - table.mean()
    left = centred - centred.mean(0) - centred.mean(1, keepdims=True)
    total = (centred**2).sum()
    return float((left**2).sum() / total) if total > 0 else np.nan


def draw_targets(kind: str, count: int, distances: int, seed: int) -> Array:
    """`count` random functions of distance: noise (iid standard normal) or walk (its running sum)."""
    noise = np.random.default_rng(seed).standard_normal((count, distances))
    return noise if kind == "noise" else np.cumsum(noise, axis=1)


def solve_layers(
    model: str, rotaries: dict[int, Rotary], distances: int, count: int = COUNT, seed: int = SEED
) -> list[dict]:
    """The rows of expressivity.csv for one model: each group of layers with the same frequencies, each kind of target.

    dft_error: largest error of `reach_table` on the targets, relative to the largest value. r2, r: mean share of the
    targets' energy that least squares at the layer's own frequencies reaches, and mean correlation with them.
    interaction: of the table of what is reached, a row a target: how far from additive logits at these frequencies
    may be. norm: median size of the coefficients, sum |q_m k_m|^2 under the root, for targets of root mean square 1.
    A group without rotary dimensions (NoPE) has no function of distance: r and the rest are NaN.
    """
    rows = []
    for layers in frequency_groups(rotaries):
        rotary = rotaries[layers[0]]
        for kind in TARGETS:
            targets = draw_targets(kind, count, distances, seed)
            targets /= np.sqrt((targets**2).mean(1, keepdims=True))
            own = {"rank": 0} | dict.fromkeys(("r2", "r", "interaction", "norm"), float("nan"))
            if len(rotary.frequency):
                own = _score(basis(rotary, distances), targets)
            rows.append(
                {
                    "model": model,
                    "first_layer": layers[0],
                    "layers": len(layers),
                    "pairs": len(rotary.frequency),
                    "unrotated": len(rotary.unrotated),
                    "fastest": f"{rotary.frequency.max():.6g}" if len(rotary.frequency) else "",
                    "slowest": f"{rotary.frequency.min():.6g}" if len(rotary.frequency) else "",
                    "distances": distances,
                    "target": kind,
                    "targets": count,
                    "dft_error": f"{reach_error(targets):.1e}",
                    **own,
                }
            )
    return rows


def _score(functions: Array, targets: Array) -> dict[str, float]:
    """The columns of one least-squares problem; targets (n, distances) of mean square 1."""
    reached, rank, norm = project(functions, targets)
    return {
        "rank": rank,
        "r2": float((reached**2).mean()),
        "r": float(np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(targets, reached, strict=True)])),
        "interaction": interaction_share(reached),
        "norm": float(np.median(norm)),
    }
