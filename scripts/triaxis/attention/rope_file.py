"""The rows of rope/: each layer's rotation and how well it was checked."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from triaxis.attention.rope import Rotary
from triaxis.attention.schema import ROPE


def to_table(layers: Sequence[int], rotaries: Sequence[Rotary], check_errors: Sequence[float]) -> pa.Table:
    """The rows of rope/, one a layer."""
    rows = [
        {
            "layer": layer,
            "scale": rotary.scale,
            "amplitude": rotary.amplitude,
            "pair": list(range(len(rotary.frequency))),
            "real": rotary.real.tolist(),
            "imaginary": rotary.imaginary.tolist(),
            "frequency": rotary.frequency.tolist(),
            "unrotated": rotary.unrotated.tolist(),
            "check_error": error,
        }
        for layer, rotary, error in zip(layers, rotaries, check_errors, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=ROPE)


def from_table(table: pa.Table) -> dict[int, Rotary]:
    """The rows of rope/ -> the rotation of each layer."""
    return {
        row["layer"]: Rotary(
            row["scale"],
            row["amplitude"],
            np.array(row["real"], dtype=np.int64),
            np.array(row["imaginary"], dtype=np.int64),
            np.array(row["frequency"], dtype=np.float64),
            np.array(row["unrotated"], dtype=np.int64),
        )
        for row in table.to_pylist()
    }
