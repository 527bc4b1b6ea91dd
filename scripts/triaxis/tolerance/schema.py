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
# links/model=MODEL/shard-NNNN.parquet: a head, for one fraction
LINKS = pa.schema(
    [
        *MATRIX,
        ("fraction", pa.float64()),  # of the units to be moved, as asked for
        ("predicted", pa.float64()),  # root mean square change of f, in logits
        ("observed", pa.float64()),  # root mean square change of the logits
        ("correlation", pa.float64()),  # of the two changes, cell by cell
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
