"""The columns of the mechanism's stages."""

import pyarrow as pa

from triaxis.base.parquet import MATRIX

# additivity/model=MODEL/shard-NNNN.parquet: a query, on a grid of dummy distances and keys
ADDITIVITY = pa.schema(
    [
        *MATRIX,
        ("query", pa.int32()),  # query position
        ("r_additive", pa.float64()),  # correlation of the logits with their best f + g
        ("interaction", pa.float64()),  # share of variance that no f + g explains
        ("r_closed_form", pa.float64()),  # correlation of the logits with the closed form
        ("bound_mean", pa.float64()),  # mean over the grid of the bound on |w - f - g|, in logits
        ("residual_rms", pa.float64()),  # root mean square of w - f - g, in logits
        ("residual_max", pa.float64()),  # its largest absolute value
        ("logit_rms", pa.float64()),  # root mean square of the logits
    ]
)
# dummies/model=MODEL/shard-NNNN.parquet: a logit matrix with all its distances replaced by one
DUMMIES = pa.schema(
    [
        *MATRIX,
        ("distance", pa.int32()),  # the dummy distance; null in a layer that turns nothing
        ("key_correlation", pa.float64()),  # of the key component with that of the true matrix
        ("mean", pa.float64()),  # of the dummy matrix over its causal cells
        ("component", pa.float64()),  # distance component of the true matrix at this distance
    ]
)
# patterns/model=MODEL/shard-NNNN.parquet: a rotary pair of a head
PATTERNS = pa.schema(
    [
        *MATRIX,
        ("first_token", pa.bool_()),  # whether the first position is among the queries and keys
        ("pair", pa.int16()),  # number as in rope/; null: all unrotated dimensions together
        ("frequency", pa.float64()),  # radians a token
        ("turns", pa.float64()),  # turns over the sequence
        ("norm_share", pa.float64()),  # the pair's share of the product of mean norms
        ("key_constancy", pa.float64()),  # squared norm of the mean key over the mean squared norm
        ("key_concentration", pa.float64()),  # mean resultant length of the keys' phases
        ("query_concentration", pa.float64()),  # mean resultant length of the queries' phases
        ("f_variance", pa.float64()),  # the pair's contribution to the variance of f, squared logits
        ("g_variance", pa.float64()),  # the same for g
        ("interaction_variance", pa.float64()),  # the same for the interaction
    ]
)
# related/model=MODEL/shard-NNNN.parquet: a head, by related papers' measures
RELATED = pa.schema(
    [
        *MATRIX,
        ("first_token", pa.bool_()),  # whether the first position counts
        ("slash_score", pa.float64()),  # largest mean attention on a sub-diagonal
        ("slash_distance", pa.int32()),  # the distance of that sub-diagonal
        ("query_rank_one", pa.float64()),  # largest squared singular value of the queries over the sum of all
        ("key_rank_one", pa.float64()),  # the same of the keys
        ("query_massive", pa.float64()),  # largest norm of a query dimension over the dimensions' mean norm
        ("query_massive_dimension", pa.int16()),  # which dimension
        ("key_massive", pa.float64()),  # the same of the keys
        ("key_massive_dimension", pa.int16()),  # which dimension
        ("offset_pairs", pa.int16()),  # pairs that turn less than once and whose keys are constant
        ("offset_share", pa.float64()),  # their share of the norm of the keys
    ]
)
