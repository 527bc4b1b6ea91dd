"""The columns of the length stages."""

import pyarrow as pa

RUN = [
    ("method", pa.string()),  # attention method
    ("length", pa.int32()),  # tokens read
]
HEAD = [
    ("layer", pa.int16()),  # layer, from 0
    ("head", pa.int16()),  # query head, from 0
]
# length/losses/model=MODEL/METHOD.parquet: a bucket of positions of one sequence in one run
LOSSES = pa.schema(
    [
        *RUN,
        ("sequence", pa.int32()),  # number of the sequence, from 0
        ("first", pa.int32()),  # position of the first token predicted
        ("last", pa.int32()),  # of the last one, counted too
        ("tokens", pa.int32()),  # tokens predicted
        ("loss", pa.float64()),  # mean, nats a token
    ]
)
# length/passkeys/model=MODEL/METHOD.parquet: a prompt with a passkey
PASSKEYS = pa.schema(
    [
        *RUN,
        ("depth", pa.float64()),  # where the key stands in the text, as a share
        ("trial", pa.int32()),  # number of the prompt, from 0
        ("needle", pa.int32()),  # position of the key sentence
        ("tokens", pa.int32()),  # tokens of the answer
        ("right", pa.int32()),  # of these, how many are the likeliest
        ("correct", pa.bool_()),  # whether all are
        ("loss", pa.float64()),  # of the answer, nats a token
    ]
)
# length/attention/model=MODEL/METHOD.parquet: a head in one run, mean over watched queries
ATTENTION = pa.schema(
    [
        *RUN,
        *HEAD,
        ("queries", pa.int32()),  # how many were watched
        ("keys", pa.float64()),  # how many a query sees
        ("logit_mean", pa.float64()),  # of the logits of the keys seen
        ("logit_sd", pa.float64()),  # their standard deviation
        ("entropy", pa.float64()),  # of the attention weights, nats
    ]
)
# length/components/model=MODEL/METHOD.parquet: a distance, at the longest length, first sequence
COMPONENTS = pa.schema(
    [
        *RUN,
        *HEAD,
        ("distance", pa.int32()),  # in tokens
        ("cells", pa.int32()),  # cells of the thinned matrix at this distance
        ("whole", pa.float64()),  # distance component of all positions
        ("inside", pa.float64()),  # of those within the training length; null beyond it
        ("closed", pa.float64()),  # of the mean query and key within the training length
    ]
)
# length/costs/model=MODEL/METHOD.parquet: reading one sequence at a length, never the same twice
COSTS = pa.schema(
    [
        *RUN,
        ("passes", pa.int32()),  # how many were timed, after one that warms up
        ("seconds", pa.float64()),  # of a pass, median
        ("fastest", pa.float64()),  # of them, seconds
        ("slowest", pa.float64()),  # of them, seconds
        ("memory_mb", pa.float64()),  # peak above the start; null where it cannot be told
        ("device", pa.string()),  # what it ran on
    ]
)
# length/distances/model=MODEL/distances.parquet: a head in one run, against the reference
DISTANCES = pa.schema(
    [
        *RUN,
        *HEAD,
        ("points", pa.int32()),  # outputs measured
        ("median", pa.float64()),  # of their Mahalanobis distance
        ("q90", pa.float64()),  # its 90 % quantile
        ("q99", pa.float64()),  # its 99 % quantile
        ("threshold", pa.float64()),  # distance beyond which 1 % of the reference lies
        ("expected", pa.float64()),  # share expected beyond it of points like the reference's
        ("outlier_share", pa.float64()),  # share of points beyond the threshold
        ("energy", pa.float64()),  # energy distance of whitened points from the reference
    ]
)
# length/clouds/model=MODEL/clouds.parquet: an output in the reference's first two principal components
CLOUDS = pa.schema(
    [
        *RUN,
        *HEAD,
        ("sequence", pa.int32()),  # number of the sequence, from 0
        ("position", pa.int32()),  # position in the sequence, from 0
        ("reference", pa.bool_()),  # whether it is plain attention's, within the training length
        ("outlier", pa.bool_()),  # whether it lies beyond its head's threshold
        ("x", pa.float32()),  # first component
        ("y", pa.float32()),  # second component
    ]
)


# length/outputs/model=MODEL/METHOD.parquet: what a head's attention gave at a position
def outputs_schema(value_dim: int) -> pa.Schema:
    """The schema of length/outputs/: what one head's attention gave at one position, `value_dim` float32 a row."""
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), value_dim)
    return pa.schema(
        [
            *RUN,
            *HEAD,
            ("sequence", pa.int32()),  # number of the sequence, from 0
            ("position", pa.int32()),  # position in the sequence, from 0
            ("vector", vector),  # before the output projection
        ]
    )
