"""The columns of the mechanism's stages."""

import pyarrow as pa

from triaxis.base.parquet import MATRIX

# additivity/model=MODEL/shard-NNNN.parquet: a query, over all keys and all dummy distances
ADDITIVITY = pa.schema(
    [
        *MATRIX,
        ("prefix", pa.int32()),  # the first so many tokens give queries, keys and distances; usually all
        ("first_token", pa.bool_()),  # whether the first position is among queries and keys
        ("phases", pa.string()),  # the keys' phases: own, or scrambled (a null; norms kept)
        ("query", pa.int32()),  # query position
        ("r_additive", pa.float64()),  # correlation of the logits with their best f + g
        ("key_independence", pa.float64()),  # of what distance does, the share that is the same for every key
        ("distance_independence", pa.float64()),  # of what the key does, the share that is the same at every distance
        ("f_variance", pa.float64()),  # variance of f over distances, squared logits
        ("g_variance", pa.float64()),  # variance of g over keys
        ("interaction_variance", pa.float64()),  # variance of w - f - g over both
        ("bound_mean", pa.float64()),  # mean of the bound on |w - f - g|, in logits
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
