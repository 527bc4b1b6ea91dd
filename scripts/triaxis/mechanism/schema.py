"""The columns of the mechanism's stages."""

import pyarrow as pa

from triaxis.base.parquet import MATRIX

ADDITIVITY = pa.schema(
    [
        *MATRIX,
        ("query", pa.int32()),
        ("r_additive", pa.float64()),
        ("interaction", pa.float64()),
        ("r_closed_form", pa.float64()),
        ("bound_mean", pa.float64()),
        ("residual_rms", pa.float64()),
        ("residual_max", pa.float64()),
        ("logit_rms", pa.float64()),
    ]
)
DUMMIES = pa.schema(
    [
        *MATRIX,
        ("distance", pa.int32()),
        ("key_correlation", pa.float64()),
        ("mean", pa.float64()),
        ("component", pa.float64()),
    ]
)
PATTERNS = pa.schema(
    [
        *MATRIX,
        ("first_token", pa.bool_()),
        ("pair", pa.int16()),
        ("frequency", pa.float64()),
        ("turns", pa.float64()),
        ("norm_share", pa.float64()),
        ("key_constancy", pa.float64()),
        ("key_concentration", pa.float64()),
        ("query_concentration", pa.float64()),
        ("f_variance", pa.float64()),
        ("g_variance", pa.float64()),
        ("interaction_variance", pa.float64()),
    ]
)
RELATED = pa.schema(
    [
        *MATRIX,
        ("first_token", pa.bool_()),
        ("slash_score", pa.float64()),
        ("slash_distance", pa.int32()),
        ("query_rank_one", pa.float64()),
        ("key_rank_one", pa.float64()),
        ("query_massive", pa.float64()),
        ("query_massive_dimension", pa.int16()),
        ("key_massive", pa.float64()),
        ("key_massive_dimension", pa.int16()),
        ("offset_pairs", pa.int16()),
        ("offset_share", pa.float64()),
    ]
)
