"""The columns of the stages of heads."""

import pyarrow as pa

from triaxis.base.parquet import MATRIX

# head_attention/model=MODEL/shard-NNNN.parquet: a head in a sequence, by where it looks
HEAD_ATTENTION = pa.schema(
    [
        *MATRIX,
        ("first_key", pa.float64()),  # mean attention on the first key, over heads.queries queries
        ("sink_share", pa.float64()),  # share of these queries whose attention on the first key exceeds 0.3
        ("previous_token", pa.float64()),  # mean attention on the token before
        ("entropy", pa.float64()),  # mean entropy of the attention, nats
        ("distance_attended", pa.float64()),  # mean distance of what is attended, tokens
        ("slash_score", pa.float64()),  # largest mean attention on a sub-diagonal
        ("slash_distance", pa.int32()),  # the distance of that sub-diagonal
        ("diagonal_trend", pa.float64()),  # rise of the logits along a sub-diagonal of the whole length
    ]
)
# prompt_scores/model=MODEL/scores.parquet: a head in a prompt of random tokens that come twice
PROMPT_SCORES = pa.schema(
    [
        *MATRIX,
        ("duplicate_token", pa.float64()),  # mean attention of the second half on the same token in the first
        ("induction", pa.float64()),  # mean attention of the second half on what followed that token
    ]
)

# What a head is measured by, each a mean over sequences, of prompts for the last but one two, with the ends of its
# interval.
MEASURES = [
    ("r", pa.float64()),  # correlation of the logits with their three-axis fit
    ("adjusted_r2", pa.float64()),  # adjusted R² of that fit
    ("distance_adds", pa.float64()),  # adjusted R² that the axis of distance adds to those of query and key
    ("query_adds", pa.float64()),  # the same of the query axis
    ("key_adds", pa.float64()),  # the same of the key axis
    ("r_additive", pa.float64()),  # correlation of a query's logits with their best f + g, mean over queries
    ("f_share", pa.float64()),  # share of f in the variance of a query's logits, all queries pooled
    ("g_share", pa.float64()),  # share of g
    ("interaction_share", pa.float64()),  # share of the interaction
    ("rest_r_additive", pa.float64()),  # r_additive without the first token
    ("rest_f_share", pa.float64()),  # f_share without the first token
    ("rest_g_share", pa.float64()),  # g_share without the first token
    ("rest_interaction_share", pa.float64()),  # interaction_share without the first token
    ("slow_norm_share", pa.float64()),  # share of the norm in the slowest three eighths of the pairs
    ("key_constancy", pa.float64()),  # key constancy of the pairs, weighted by their shares of the norm
    ("first_key", pa.float64()),  # attention on the first key
    ("sink_share", pa.float64()),  # share of queries whose attention on the first key exceeds 0.3
    ("previous_token", pa.float64()),  # attention on the token before
    ("entropy", pa.float64()),  # of the attention, nats
    ("distance_attended", pa.float64()),  # mean distance of what is attended, tokens
    ("slash_score", pa.float64()),  # largest mean attention on a sub-diagonal
    ("diagonal_spread", pa.float64()),  # root mean square of the logits about the means of their sub-diagonals
    ("diagonal_trend", pa.float64()),  # rise of the logits along a sub-diagonal of the whole length
    ("duplicate_token", pa.float64()),  # attention on the same token before, in prompts
    ("induction", pa.float64()),  # attention on what followed the same token before, in prompts
    ("surgery_loss", pa.float64()),  # nats a token that additive logits in this head alone cost; null if not run
]
# heads/model=MODEL/heads.parquet: a head of a model
HEADS = pa.schema(
    [
        ("layer", pa.int16()),  # layer, from 0
        ("head", pa.int16()),  # query head, from 0
        ("sequences", pa.int32()),  # sequences that the means and intervals are over
        ("prompts", pa.int32()),  # prompts, likewise
        ("class", pa.string()),  # positional, semantic, mixed, sink or undecided
        ("role", pa.string()),  # previous_token, duplicate_token or induction; null for none
        ("slash_distance", pa.float64()),  # median distance of the sub-diagonal of most attention
        *(own for name, kind in MEASURES for own in ((name, kind), (f"{name}_low", kind), (f"{name}_high", kind))),
    ]
)
