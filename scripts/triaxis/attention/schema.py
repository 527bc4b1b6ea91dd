"""The columns of rope/."""

import pyarrow as pa

ROPE = pa.schema(
    [
        ("layer", pa.int16()),
        ("scale", pa.float64()),
        ("amplitude", pa.float64()),
        ("pair", pa.list_(pa.int16())),
        ("real", pa.list_(pa.int16())),
        ("imaginary", pa.list_(pa.int16())),
        ("frequency", pa.list_(pa.float64())),
        ("unrotated", pa.list_(pa.int16())),
        ("check_error", pa.float64()),
    ]
)
