"""The columns of the training's stages."""

import pyarrow as pa

from triaxis.base.parquet import MATRIX

# curves/series=SERIES/curve.parquet: a loss during a training
CURVES = pa.schema(
    [
        ("step", pa.int32()),  # training steps until then
        ("text", pa.string()),  # 'training', the mean over the steps since the last one, or 'held out'
        ("loss", pa.float64()),  # nats a token
    ]
)
# checkpoint_losses/model=MODEL/shard-NNNN.parquet: a token that a checkpoint predicts
CHECKPOINT_LOSSES = pa.schema(
    [
        ("sequence", pa.int32()),  # number of the sequence, from 0
        ("position", pa.int32()),  # position of the predicted token, from 1
        ("loss", pa.float32()),  # nats
    ]
)
# checkpoint_attention/model=MODEL/shard-NNNN.parquet: a head, by where it looks
CHECKPOINT_ATTENTION = pa.schema(
    [
        *MATRIX,
        ("previous", pa.float64()),  # attention on the token before, mean over the queries that have one
        ("first", pa.float64()),  # attention on the first token, mean over the same queries
        ("entropy", pa.float64()),  # of the attention of a query, in nats, mean over the same queries
        ("uniform", pa.float64()),  # what a head that looks at all keys alike gives each of them, the same mean
    ]
)
# flexibility/model=MODEL/flexibility.parquet: a sequence that a checkpoint reads as written, displaced, or very long
FLEXIBILITY = pa.schema(
    [
        ("sequence", pa.int32()),  # number of the sequence, from 0; those of a long text are other sequences
        ("text", pa.string()),  # 'as written', 'displaced' (some of its words have changed places) or 'long'
        ("first", pa.int32()),  # position of the first token whose loss counts
        ("tokens", pa.int32()),  # tokens from there on whose loss counts
        ("loss", pa.float64()),  # nats a token
    ]
)
