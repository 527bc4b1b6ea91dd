"""The columns of the tolerance stages."""

import pyarrow as pa

from triaxis.base.parquet import MATRIX

DISPLACEMENTS = pa.schema(
    [
        ("sequence", pa.int32()),
        ("fraction", pa.float64()),
        ("moved_fraction", pa.float64()),
        ("position", pa.int32()),
        ("new_position", pa.int32()),
    ]
)
TOLERANCE = pa.schema(
    [
        ("sequence", pa.int32()),
        ("fraction", pa.float64()),
        ("moved_fraction", pa.float64()),
        ("displacement", pa.float64()),
        ("position", pa.int32()),
        ("new_position", pa.int32()),
        ("loss", pa.float64()),
        ("perturbed_loss", pa.float64()),
        ("agreement", pa.bool_()),
        ("kl", pa.float64()),
    ]
)
COSINES = pa.schema(
    [("sequence", pa.int32()), ("fraction", pa.float64()), ("layer", pa.int16()), ("cosine", pa.float64())]
)
LINKS = pa.schema(
    [
        *MATRIX,
        ("fraction", pa.float64()),
        ("predicted", pa.float64()),
        ("observed", pa.float64()),
        ("correlation", pa.float64()),
    ]
)


def plain_schema(size: int) -> pa.Schema:
    """The schema of plain/: one state of `size` float32 a row."""
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), size)
    return pa.schema([("sequence", pa.int32()), ("layer", pa.int16()), ("position", pa.int32()), ("vector", vector)])
