"""The columns of sums/, fits/ and components/."""

import pyarrow as pa

from triaxis.base.parquet import MATRIX

# sums/model=MODEL/shard-NNNN.parquet: a sum of logits over one level of an axis
SUMS = pa.schema(
    [
        *MATRIX,
        ("prefix", pa.int32()),  # the first tokens of the sequence whose cells are summed, so many
        ("axis", pa.string()),  # 'distance', 'query', 'key' or 'all'
        ("index", pa.int32()),  # the level; null for 'all'
        ("count", pa.int64()),  # causal cells of the level
        ("total", pa.float64()),  # sum of their logits
        ("squares", pa.float64()),  # sum of their squares
        ("heldout_count", pa.int64()),  # cells of the level that the held-out fit does not see
        ("heldout_total", pa.float64()),  # sum of the logits of these
        ("heldout_squares", pa.float64()),  # sum of their squares
    ]
)
# fits/model=MODEL/shard-NNNN.parquet: a fit of one logit matrix by one combination of axes
FITS = pa.schema(
    [
        *MATRIX,
        ("prefix", pa.int32()),  # the first tokens that are fitted, so many: all of them, or one of fits.prefixes
        ("axes", pa.string()),  # the combination, such as 'distance+key'
        ("r", pa.float64()),  # correlation of the logits with their fit; null, as the next three, for a constant matrix
        ("r2", pa.float64()),  # its square
        ("adjusted_r2", pa.float64()),  # adjusted for the number of parameters
        ("heldout_r", pa.float64()),  # correlation on the third of the cells that was not fitted
        ("null_r", pa.float64()),  # r of independent noise
        ("cells", pa.int64()),  # causal cells
        ("parameters", pa.int32()),  # free parameters
        ("count", pa.int64()),  # causal cells of the matrix that were summed
        ("total", pa.float64()),  # sum of its logits
        ("squares", pa.float64()),  # sum of their squares
    ]
)
# components/model=MODEL/shard-NNNN.parquet: a fitted value of the full fit of the whole sequence, in the stated gauge
COMPONENTS = pa.schema(
    [
        *MATRIX,
        ("axis", pa.string()),  # 'distance', 'query' or 'key'
        ("index", pa.int32()),  # distance or position
        ("value", pa.float64()),  # in logits
    ]
)
