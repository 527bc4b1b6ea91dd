"""Queries and keys as complex components: a rotary pair is one complex number, an unrotated dimension a real one.

Position turns the first and leaves the second as it is.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary
from triaxis.base.errors import UserError
from triaxis.logits.features import Features
from triaxis.logits.features_file import read_features

Array = NDArray[np.float64]

Complex = NDArray[np.complex128]


def as_components(vectors: NDArray[np.floating], rotary: Rotary) -> Complex:
    """Vectors (..., head_dim) before rotation -> (..., pairs + unrotated), RoPE's amplitude included."""
    return np.concatenate([rotary.amplitude * rotary.to_complex(vectors), vectors[..., rotary.unrotated]], axis=-1)


def component_frequency(rotary: Rotary) -> Array:
    """(pairs + unrotated,): radians a token, 0 for the dimensions that position does not touch."""
    return np.concatenate([rotary.frequency, np.zeros(len(rotary.unrotated))])


def turns_at(rotary: Rotary, distances: NDArray[np.integer]) -> Complex:
    """exp(1j t_m d): (distances, pairs + unrotated)."""
    return np.exp(1j * np.multiply.outer(distances, component_frequency(rotary)))


def inner(left: Complex, right: Complex, out: Array | None = None) -> Array:
    """Re sum_m left_m conj(right_m), (..., components) and (n, components) -> (..., n), as one real matrix product."""
    a, b = (np.ascontiguousarray(components).view(np.float64) for components in (left, right))
    return np.matmul(a, b.T, out=out)


def evenly(length: int, count: int) -> NDArray[np.int64]:
    """`count` integers from 0 to length - 1, as evenly spaced as integers can be."""
    return np.arange(count) * (length - 1) // (count - 1)


def heads_as_components(features: Features, rotary: Rotary) -> Iterator[tuple[int, Complex, Complex]]:
    """Each query head of a layer: its number, its queries (length, components), scaled, and its keys (length,
    components)."""
    group = len(features.query) // len(features.key)
    for key_head, key in enumerate(features.key):
        key_components = as_components(key, rotary)
        for head in range(key_head * group, (key_head + 1) * group):
            yield head, rotary.scale * as_components(features.query[head], rotary), key_components


def rows_of(features: Features, parts: list[dict[str, NDArray]], schema: pa.Schema) -> pa.Table:
    """Columns of each head in turn -> the rows of one (sequence, layer); NaN becomes null."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    rows = len(columns["head"])
    columns |= {"sequence": np.full(rows, features.sequence), "layer": np.full(rows, features.layer)}
    arrays = [pa.array(columns[name], from_pandas=True).cast(schema.field(name).type) for name in schema.names]
    return pa.Table.from_arrays(arrays, schema=schema)


def sequence_length(path: str | Path) -> int:
    """The length of the sequences of a features file. Raises UserError if it is damaged or empty."""
    first = next(read_features(path), None)
    if first is None:
        raise UserError(f"{path} is empty: delete it and rerun")
    return first.query.shape[1]


def read_layers(path: str | Path, rotaries: dict[int, Rotary]) -> Iterator[Features]:
    """The features of a file, one (sequence, layer) at a time, checked against its rope/.

    Raises UserError if a sequence lacks one of the layers of `rotaries` or has another, or a layer has no keys.
    """
    seen: dict[int, set[int]] = {}
    for layer in read_features(path):
        if layer.layer not in rotaries:
            raise UserError(f"{path} has layer {layer.layer}, which its rope/ file lacks: delete both and rerun")
        if not len(layer.key):
            raise UserError(
                f"{path} has no keys in layer {layer.layer} of sequence {layer.sequence}: delete it and rerun"
            )
        seen.setdefault(layer.sequence, set()).add(layer.layer)
        yield layer
    for sequence, layers in seen.items():
        if missing := sorted(set(rotaries) - layers):
            raise UserError(f"{path} lacks layers {missing} of sequence {sequence}: delete it and rerun")
