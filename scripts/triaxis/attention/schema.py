"""The columns of rope/."""

import pyarrow as pa

# rope/model=MODEL/shard-NNNN.parquet: a layer's rotation, as measured on the live model
ROPE = pa.schema(
    [
        ("layer", pa.int16()),  # layer, from 0
        ("scale", pa.float64()),  # the model's own attention scaling
        ("amplitude", pa.float64()),  # what the tables of cos and sin are multiplied by
        ("pair", pa.list_(pa.int16())),  # numbers of the rotary pairs
        ("real", pa.list_(pa.int16())),  # each pair's first dimension
        ("imaginary", pa.list_(pa.int16())),  # each pair's second dimension
        ("frequency", pa.list_(pa.float64())),  # each pair's frequency, radians a token
        ("unrotated", pa.list_(pa.int16())),  # dimensions that do not turn
        ("check_error", pa.float64()),  # of the self-check, relative to the largest logit
    ]
)
