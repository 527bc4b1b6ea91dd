"""The columns of the length stages."""

import pyarrow as pa

RUN = [("method", pa.string()), ("length", pa.int32())]
HEAD = [("layer", pa.int16()), ("head", pa.int16())]
LOSSES = pa.schema(
    [
        *RUN,
        ("sequence", pa.int32()),
        ("first", pa.int32()),
        ("last", pa.int32()),
        ("tokens", pa.int32()),
        ("loss", pa.float64()),
    ]
)
PASSKEYS = pa.schema(
    [
        *RUN,
        ("depth", pa.float64()),
        ("trial", pa.int32()),
        ("needle", pa.int32()),
        ("tokens", pa.int32()),
        ("right", pa.int32()),
        ("correct", pa.bool_()),
        ("loss", pa.float64()),
    ]
)
ATTENTION = pa.schema(
    [
        *RUN,
        *HEAD,
        ("queries", pa.int32()),
        ("keys", pa.float64()),
        ("logit_mean", pa.float64()),
        ("logit_sd", pa.float64()),
        ("entropy", pa.float64()),
    ]
)
COMPONENTS = pa.schema(
    [
        *RUN,
        *HEAD,
        ("distance", pa.int32()),
        ("cells", pa.int32()),
        ("whole", pa.float64()),
        ("inside", pa.float64()),
        ("closed", pa.float64()),
    ]
)
COSTS = pa.schema(
    [*RUN, ("sequences", pa.int32()), ("seconds", pa.float64()), ("memory_mb", pa.float64()), ("device", pa.string())]
)
DISTANCES = pa.schema(
    [
        *RUN,
        *HEAD,
        ("points", pa.int32()),
        ("median", pa.float64()),
        ("q90", pa.float64()),
        ("q99", pa.float64()),
        ("threshold", pa.float64()),
        ("outlier_share", pa.float64()),
        ("energy", pa.float64()),
    ]
)
CLOUDS = pa.schema(
    [
        *RUN,
        *HEAD,
        ("sequence", pa.int32()),
        ("position", pa.int32()),
        ("reference", pa.bool_()),
        ("x", pa.float32()),
        ("y", pa.float32()),
    ]
)


def outputs_schema(value_dim: int) -> pa.Schema:
    """The schema of length/outputs/: what one head's attention gave at one position, `value_dim` float32 a row."""
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), value_dim)
    return pa.schema([*RUN, *HEAD, ("sequence", pa.int32()), ("position", pa.int32()), ("vector", vector)])
