"""The columns of features/ and logits/."""

import pyarrow as pa

from triaxis.base.parquet import MATRIX

# logits/model=MODEL/shard-NNNN.parquet: a logit, causal cells only
LOGITS = pa.schema(
    [
        *MATRIX,
        ("query", pa.int32()),  # query position
        ("key", pa.int32()),  # key position, at most query
        ("logit", pa.float32()),  # before mask, sink and softcap
    ]
)


# features/model=MODEL/shard-NNNN.parquet: a query or a key before rotation
def features_schema(head_dim: int) -> pa.Schema:
    """The schema of features/: one pre-RoPE vector of `head_dim` float32 a row."""
    return pa.schema(
        [
            ("sequence", pa.int32()),  # number of the sequence, from 0
            ("layer", pa.int16()),  # layer, from 0
            ("kind", pa.string()),  # 'query' or 'key'
            ("head", pa.int16()),  # query head, or key head for keys, from 0
            ("position", pa.int32()),  # position in the sequence, from 0
            # after any norm on queries and keys, before RoPE
            ("vector", pa.list_(pa.field("element", pa.float32(), nullable=False), head_dim)),
        ]
    )
