"""The columns of the tolerance stages."""

import pyarrow as pa

from triaxis.base.parquet import MATRIX

# displacements/model=MODEL/shard-NNNN.parquet: a token of a sequence, for one fraction
DISPLACEMENTS = pa.schema(
    [
        ("sequence", pa.int32()),  # number of the sequence, from 0
        ("fraction", pa.float64()),  # of the units to be moved, as asked for
        ("moved_fraction", pa.float64()),  # of the units that may move, as it came out
        ("position", pa.int32()),  # where the token stands
        ("new_position", pa.int32()),  # where it goes
    ]
)
# tolerance/model=MODEL/perturbation=PERTURBATION/shard-NNNN.parquet: a position of a perturbed run
TOLERANCE = pa.schema(
    [
        ("sequence", pa.int32()),  # number of the sequence, from 0
        ("fraction", pa.float64()),  # of the units to be moved, as asked for
        ("moved_fraction", pa.float64()),  # of the units that may move, as it came out
        ("displacement", pa.float64()),  # mean absolute shift of a token of the sequence
        ("position", pa.int32()),  # in the unperturbed text
        ("new_position", pa.int32()),  # in the perturbed text
        ("loss", pa.float64()),  # of the original next token, nats; null where it is no longer defined
        ("perturbed_loss", pa.float64()),  # of the token that now comes next, nats
        ("agreement", pa.bool_()),  # whether the most likely next token is the plain run's
        ("kl", pa.float64()),  # KL(plain || perturbed) of the next token, nats
    ]
)
# cosines/model=MODEL/perturbation=PERTURBATION/shard-NNNN.parquet: a layer of a perturbed run
COSINES = pa.schema(
    [
        ("sequence", pa.int32()),  # number of the sequence, from 0
        ("fraction", pa.float64()),  # of the units to be moved, as asked for
        ("layer", pa.int16()),  # layer, from 0
        ("cosine", pa.float64()),  # of the attention output, perturbed and plain, mean over positions
    ]
)
# perturbed_heads/model=MODEL/heads.parquet: a run with the distances of one head, or layer, off; of one sequence
PERTURBED_HEADS = pa.schema(
    [
        ("sequence", pa.int32()),  # number of the sequence, from 0
        ("layer", pa.int16()),  # layer, from 0
        ("head", pa.int16()),  # query head, from 0; null: all heads of the layer
        ("plain_loss", pa.float64()),  # of the unperturbed run, nats a token
        ("loss", pa.float64()),  # of this run
        ("kl", pa.float64()),  # KL(plain || perturbed) of the next token, nats, mean over positions
    ]
)
# predictors/model=MODEL/heads.parquet: a head in a plain run of another sequence
PREDICTORS = pa.schema(
    [
        *MATRIX,
        ("f", pa.float64()),  # half the variance, under the attention, of the change of f, mean over queries
        ("scrambled", pa.float64()),  # the same of keys whose phases are drawn anew
        ("norms", pa.float64()),  # half the mean squared change under the attention if all phases were random
        ("logits", pa.float64()),  # as f, of the change of the logits themselves
        ("entropy", pa.float64()),  # of the attention, nats, mean over queries
        ("slow_share", pa.float64()),  # of the product of mean norms, in pairs that turn less than once
    ]
)


# plain/model=MODEL/shard-NNNN.parquet: a state of the unperturbed run
def plain_schema(size: int) -> pa.Schema:
    """The schema of plain/: one state of `size` float32 a row."""
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), size)
    return pa.schema(
        [
            ("sequence", pa.int32()),  # number of the sequence, from 0
            ("layer", pa.int16()),  # the layer whose attention's output this is; null: what the head reads
            ("position", pa.int32()),  # position in the sequence, from 0
            ("vector", vector),  # the state
        ]
    )
