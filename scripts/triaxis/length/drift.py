"""How far attention outputs leave the distribution that they have within the training length, head by head.

Outputs o are whitened by the reference: mean 0, covariance 1, after shrinkage towards a sphere.
docs/method/length.md.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from triaxis.base import parquet
from triaxis.length.schema import CLOUDS, DISTANCES

Array = NDArray[np.floating]

INSIDE = 0.99


def shrunk_covariance(points: Array) -> Array:
    """The oracle-approximating shrinkage estimate (Chen et al. 2010, arXiv 0907.4698): points (heads, n, d) ->
    (heads, d, d), towards the mean variance in all directions."""
    _, n, d = points.shape
    centred = points - points.mean(1, keepdims=True)
    sample = centred.swapaxes(1, 2) @ centred / n
    trace = np.trace(sample, axis1=1, axis2=2)
    squares = (sample**2).sum((1, 2))
    bottom = (n + 1 - 2 / d) * (squares - trace**2 / d)
    top = (1 - 2 / d) * squares + trace**2
    share = np.divide(top, bottom, out=np.ones_like(top), where=bottom > 0).clip(0, 1)[:, None, None]
    return (1 - share) * sample + share * (trace / d)[:, None, None] * np.eye(d)


@dataclass(frozen=True)
class Reference:
    """mean (heads, 1, d), whitener (heads, d, d); plane (heads, d, 2): the two directions of largest variance;
    threshold (heads,): the Mahalanobis distance that 1 % of held-out points exceed; fitted (heads, n, d), whitened."""

    mean: Array
    whitener: Array
    plane: Array
    threshold: Array
    fitted: Array

    def whiten(self, points: Array) -> Array:
        """points (heads, n, d) -> the same, in units of the reference's spread in each direction."""
        return (points - self.mean) @ self.whitener

    def project(self, points: Array) -> Array:
        """points (heads, n, d) -> (heads, n, 2), in the reference's first two principal components."""
        return (points - self.mean) @ self.plane


def fit_reference(fitted: Array, held: Array) -> Reference:
    """The reference from points (heads, n, d) within the training length, and from others that calibrate it."""
    mean = fitted.mean(1, keepdims=True)
    covariance = shrunk_covariance(fitted)
    # A head whose outputs do not vary has nothing to be measured in.
    floor = np.maximum(np.trace(covariance, axis1=1, axis2=2), 1e-30)[:, None, None] * 1e-9
    covariance = covariance + floor * np.eye(covariance.shape[-1])
    values, vectors = np.linalg.eigh(covariance)
    plane = vectors[:, :, [-1, -2]]
    # An eigenvector's sign is arbitrary: let its largest entry be positive.
    largest = np.take_along_axis(plane, np.abs(plane).argmax(1)[:, None], axis=1)
    plane = plane * np.where(largest < 0, -1, 1)
    whitener = vectors / np.sqrt(values)[:, None]
    threshold = np.quantile(np.linalg.norm((held - mean) @ whitener, axis=-1), INSIDE, axis=1)
    return Reference(mean, whitener, plane, threshold, (fitted - mean) @ whitener)


def measure(reference: Reference, points: Array) -> dict[str, Array]:
    """points (heads, n, d) against the reference; arrays (heads,).

    median, q90, q99: quantiles of their Mahalanobis distance. outlier_share: of points beyond the reference's 99 %.
    energy: the energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| of whitened points and those that the reference was
    fitted to (Szekely & Rizzo 2013), pairs of a point with itself left out, so that 0 is expected of the same
    distribution, but for what whitening takes from the few points that it was fitted to.
    """
    whitened = reference.whiten(points)
    distance = np.linalg.norm(whitened, axis=-1)
    median, q90, q99 = np.quantile(distance, (0.5, 0.9, 0.99), axis=1)
    outlier_share = (distance > reference.threshold[:, None]).mean(1)
    energy = np.array([energy_distance(one, other) for one, other in zip(whitened, reference.fitted, strict=True)])
    return {"median": median, "q90": q90, "q99": q99, "outlier_share": outlier_share, "energy": energy}


def energy_distance(one: Array, other: Array) -> float:
    """Of two samples (n, d) and (m, d), each without itself: unbiased."""
    n, m = len(one), len(other)
    within = _gaps(one, one).sum() / (n * (n - 1)) + _gaps(other, other).sum() / (m * (m - 1))
    return float(2 * _gaps(one, other).mean() - within)


def _gaps(one: Array, other: Array) -> Array:
    """(n, m): Euclidean distances. By one matrix product: scipy's loop over dimensions is many times slower."""
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    gaps = np.sqrt(np.maximum(squares, 0))
    if one is other:
        np.fill_diagonal(gaps, 0)
    return gaps


@dataclass(frozen=True)
class Points:
    """One layer's outputs of one (method, length): vectors (heads, n, d); sequence and position (n,)."""

    sequence: NDArray[np.int32]
    position: NDArray[np.int32]
    vectors: Array


def read_points(path: str | Path, layer: int) -> dict[tuple[str, int], Points]:
    """(method, length) -> the outputs of one layer in a file of length/outputs/."""
    table = pq.read_table(path, filters=[("layer", "=", layer)])
    found = {}
    lengths = table["length"].to_numpy()
    for length in np.unique(lengths):
        own = table.filter(pa.array(lengths == length))
        order = np.lexsort([own[name].to_numpy() for name in ("position", "sequence", "head")])
        heads = int(own["head"].to_numpy().max()) + 1
        column = own["vector"].combine_chunks()
        vectors = (
            column.flatten()
            .to_numpy()
            .reshape(-1, column.type.list_size)[order]
            .reshape(heads, -1, column.type.list_size)
        )
        places = order[: vectors.shape[1]]
        found[own["method"][0].as_py(), int(length)] = Points(
            own["sequence"].to_numpy()[places], own["position"].to_numpy()[places], vectors.astype(np.float64)
        )
    return found


def compare_layer(
    found: dict[tuple[str, int], Points], layer: int, training_length: int, seed: int
) -> tuple[pa.Table, pa.Table]:
    """The rows of length/distances/ and length/clouds/ of one layer.

    found: (method, length) -> its outputs. The reference is `plain` at lengths within the training length: a seeded
    half of its positions fits it, the other calibrates it. Within that length every method is measured on the held-out
    positions alone, which are the same for all.
    """
    lengths = sorted({length for _, length in found if length <= training_length})
    halves = {}
    for number, length in enumerate(lengths):
        n = len(found["plain", length].position)
        halves[length] = np.random.default_rng([seed, number]).permutation(n) < n // 2
    inside = {length: found["plain", length].vectors for length in lengths}
    reference = fit_reference(
        np.concatenate([inside[length][:, halves[length]] for length in lengths], axis=1),
        np.concatenate([inside[length][:, ~halves[length]] for length in lengths], axis=1),
    )
    distances, clouds = [], []
    for (method, length), points in found.items():
        held = ~halves[length] if length in halves else np.ones(len(points.position), dtype=bool)
        measured = measure(reference, points.vectors[:, held])
        heads, n = len(points.vectors), int(held.sum())
        key = {"method": pa.repeat(method, heads), "length": np.full(heads, length, np.int32)}
        key |= {"layer": np.full(heads, layer, np.int16), "head": np.arange(heads, dtype=np.int16)}
        rows = key | {"points": np.full(heads, n, np.int32), "threshold": reference.threshold} | measured
        distances.append(pa.table({name: rows[name] for name in DISTANCES.names}))
        flat = reference.project(points.vectors[:, held]).astype(np.float32)
        clouds.append(
            pa.table(
                {
                    "method": pa.repeat(method, heads * n),
                    "length": np.full(heads * n, length, np.int32),
                    "layer": np.full(heads * n, layer, np.int16),
                    "head": np.repeat(np.arange(heads, dtype=np.int16), n),
                    "sequence": np.tile(points.sequence[held], heads),
                    "position": np.tile(points.position[held], heads),
                    "reference": np.full(heads * n, method == "plain" and length in halves),
                    "x": flat[..., 0].ravel(),
                    "y": flat[..., 1].ravel(),
                }
            )
        )
    return (
        pa.concat_tables(distances).cast(DISTANCES),
        pa.concat_tables(clouds).cast(CLOUDS),
    )


def layers_of(path: str | Path) -> list[int]:
    """The layers that a file of length/outputs/ holds."""
    return sorted(set(parquet.read_parquet(path, ["layer"])["layer"].to_pylist()))
