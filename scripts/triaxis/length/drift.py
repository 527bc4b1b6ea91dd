"""How far attention outputs leave the distribution that they have within the training length, head by head.

Outputs are whitened by the reference: centre 0, scatter 1 in all directions, both robust, so that a few of its own
points cannot set them. docs/method/length.md.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import chi2

from triaxis.base import parquet
from triaxis.length.schema import CLOUDS, DISTANCES

Array = NDArray[np.floating]

INSIDE = 0.99
STEPS = 100  # of the fixed point of `scatter`, at most


def scatter(points: Array) -> Array:
    """Tyler's M-estimate of scatter, shrunk to a sphere: centred points (heads, n, d) -> (heads, d, d), of trace d.
    Chen, Wiesel & Hero 2011, arXiv 1009.5331.

    Only the points' directions count, so that one point, however far away, weighs as much as any other. The share of
    the sphere is the paper's plug-in estimate of the best one. Points at 0 have no direction
    and are left out; a head with no other is a sphere.
    """
    norms = np.linalg.norm(points, axis=-1, keepdims=True)
    directions = np.divide(points, norms, out=np.zeros_like(points), where=norms > 0)
    n, d = np.maximum((norms > 0).sum((1, 2)), 1), points.shape[-1]
    sphere = np.eye(d)

    def second_moment(weights: Array) -> Array:
        return (d / n)[:, None, None] * (directions * weights[..., None]).swapaxes(1, 2) @ directions

    squares = (second_moment(np.ones(points.shape[:2])) ** 2).sum((1, 2))  # the trace of its square
    top = d**2 + (1 - 2 / d) * squares
    bottom = d**2 - n * d - 2 * n + (n + 1 + 2 * (n - 1) / d) * squares
    share = np.divide(top, bottom, out=np.ones_like(top), where=bottom > 0).clip(0, 1)[:, None, None]
    shape = np.broadcast_to(sphere, (len(points), d, d))
    for _ in range(STEPS):
        along = np.einsum("hnd,hnd->hn", directions @ np.linalg.inv(shape), directions)
        weights = np.divide(1, along, out=np.zeros_like(along), where=along > 0)
        following = (1 - share) * second_moment(weights) + share * sphere
        following *= (d / np.trace(following, axis1=1, axis2=2))[:, None, None]
        change, shape = np.abs(following - shape).max(), following
        if change < 1e-6:
            break
    return shape


@dataclass(frozen=True)
class Reference:
    """centre (heads, 1, d), whitener (heads, d, d); plane (heads, d, 2): the two directions of largest scatter;
    threshold (heads,): a Mahalanobis distance; expected: the share of points like the reference's beyond it; fitted
    (heads, n, d), whitened."""

    centre: Array
    whitener: Array
    plane: Array
    threshold: Array
    expected: float
    fitted: Array

    def whiten(self, points: Array) -> Array:
        """points (heads, n, d) -> the same, in units of the reference's spread in each direction."""
        return (points - self.centre) @ self.whitener

    def distance(self, points: Array) -> Array:
        """points (heads, n, d) -> (heads, n): their Mahalanobis distances."""
        return np.linalg.norm(self.whiten(points), axis=-1)

    def is_outlier(self, points: Array) -> NDArray[np.bool_]:
        """points (heads, n, d) -> (heads, n): whether each lies beyond its head's threshold."""
        return self.distance(points) > self.threshold[:, None]

    def project(self, points: Array) -> Array:
        """points (heads, n, d) -> (heads, n, 2), in the reference's first two principal components."""
        return (points - self.centre) @ self.plane


def fit_reference(fitted: Array, calibrating: Array) -> Reference:
    """The reference from points (heads, n, d) within the training length, and from others that calibrate it.

    The centre is the median of each coordinate. The scatter is `scatter`, scaled so that the median squared distance of
    `fitted` is that of a normal distribution. The threshold is the k-th smallest distance of the m calibrating points,
    k = floor(0.99 (m + 1)): 1 - k / (m + 1) of points drawn alike lie beyond it on average, whatever the distribution
    (Vovk et al. 2005, "Algorithmic learning in a random world"). With 100 of them or more it is not the largest.
    """
    centre = np.median(fitted, axis=1, keepdims=True)
    centred = fitted - centre
    values, vectors = np.linalg.eigh(scatter(centred))
    plane = vectors[:, :, [-1, -2]]
    # An eigenvector's sign is arbitrary: let its largest entry be positive.
    largest = np.take_along_axis(plane, np.abs(plane).argmax(1)[:, None], axis=1)
    plane = plane * np.where(largest < 0, -1, 1)
    whitener = vectors / np.sqrt(values)[:, None]
    typical = np.median(((centred @ whitener) ** 2).sum(-1), axis=1) / chi2.median(fitted.shape[-1])
    # A head whose outputs do not vary has nothing to be measured in.
    whitener = whitener / np.sqrt(np.where(typical > 0, typical, 1))[:, None, None]
    distances = np.sort(np.linalg.norm((calibrating - centre) @ whitener, axis=-1), axis=1)
    m = distances.shape[1]
    k = int(INSIDE * (m + 1))
    return Reference(centre, whitener, plane, distances[:, k - 1], 1 - k / (m + 1), centred @ whitener)


def measure(reference: Reference, points: Array) -> dict[str, Array]:
    """points (heads, n, d) against the reference; arrays (heads,).

    median, q90, q99: quantiles of their Mahalanobis distance. outlier_share: of points beyond the threshold.
    energy: the energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| of whitened points and those that the reference was
    fitted to (Szekely & Rizzo 2013), pairs of a point with itself left out, so that 0 is expected of the same
    distribution, but for what whitening takes from the few points that it was fitted to.
    """
    whitened = reference.whiten(points)
    median, q90, q99 = np.quantile(reference.distance(points), (0.5, 0.9, 0.99), axis=1)
    outlier_share = reference.is_outlier(points).mean(1)
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

    found: (method, length) -> its outputs. The reference is `plain` at lengths within the training length. A seeded
    third of its positions fits it, another calibrates it. Within that length every method is measured on the last third
    alone, whose positions are the same for all.
    """
    lengths = sorted({length for _, length in found if length <= training_length})
    parts = {}
    for number, length in enumerate(lengths):
        n = len(found["plain", length].position)
        parts[length] = np.random.default_rng([seed, number]).permutation(n) % 3
    fitting, calibrating = (
        np.concatenate([found["plain", length].vectors[:, parts[length] == part] for length in lengths], axis=1)
        for part in (0, 1)
    )
    reference = fit_reference(fitting, calibrating)
    distances, clouds = [], []
    for (method, length), points in found.items():
        counted = parts[length] == 2 if length in parts else np.ones(len(points.position), dtype=bool)
        own = points.vectors[:, counted]
        heads, n = own.shape[:2]
        key = {"method": pa.repeat(method, heads), "length": np.full(heads, length, np.int32)}
        key |= {"layer": np.full(heads, layer, np.int16), "head": np.arange(heads, dtype=np.int16)}
        rows = key | {"points": np.full(heads, n, np.int32), "threshold": reference.threshold}
        rows |= {"expected": np.full(heads, reference.expected)} | measure(reference, own)
        distances.append(pa.table({name: rows[name] for name in DISTANCES.names}))
        flat = reference.project(own).astype(np.float32)
        clouds.append(
            pa.table(
                {
                    "method": pa.repeat(method, heads * n),
                    "length": np.full(heads * n, length, np.int32),
                    "layer": np.full(heads * n, layer, np.int16),
                    "head": np.repeat(np.arange(heads, dtype=np.int16), n),
                    "sequence": np.tile(points.sequence[counted], heads),
                    "position": np.tile(points.position[counted], heads),
                    "reference": np.full(heads * n, method == "plain" and length in parts),
                    "outlier": reference.is_outlier(own).ravel(),
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
