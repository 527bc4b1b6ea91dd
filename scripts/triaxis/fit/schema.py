"""The columns of sums/, fits/ and components/."""

import pyarrow as pa

from triaxis.base.parquet import MATRIX

SUMS = pa.schema(
    [
        *MATRIX,
        ("axis", pa.string()),
        ("index", pa.int32()),
        ("count", pa.int64()),
        ("total", pa.float64()),
        ("squares", pa.float64()),
        ("half_count", pa.int64()),
        ("half_total", pa.float64()),
        ("half_squares", pa.float64()),
    ]
)
FITS = pa.schema(
    [
        *MATRIX,
        ("axes", pa.string()),
        ("r", pa.float64()),
        ("r2", pa.float64()),
        ("adjusted_r2", pa.float64()),
        ("heldout_r", pa.float64()),
        ("null_r", pa.float64()),
        ("cells", pa.int64()),
        ("parameters", pa.int32()),
        ("count", pa.int64()),
        ("total", pa.float64()),
        ("squares", pa.float64()),
    ]
)
COMPONENTS = pa.schema([*MATRIX, ("axis", pa.string()), ("index", pa.int32()), ("value", pa.float64())])
