"""The columns of features/ and logits/."""

import pyarrow as pa

from triaxis.base.parquet import MATRIX

LOGITS = pa.schema([*MATRIX, ("query", pa.int32()), ("key", pa.int32()), ("logit", pa.float32())])


def features_schema(head_dim: int) -> pa.Schema:
    """The schema of features/: one pre-RoPE vector of `head_dim` float32 a row."""
    return pa.schema(
        [
            ("sequence", pa.int32()),
            ("layer", pa.int16()),
            ("kind", pa.string()),
            ("head", pa.int16()),
            ("position", pa.int32()),
            ("vector", pa.list_(pa.field("element", pa.float32(), nullable=False), head_dim)),
        ]
    )
