"""The columns of what the text stages write."""

import pyarrow as pa

DOCUMENTS = pa.schema(
    [
        ("document", pa.int32()),
        ("title", pa.string()),
        ("text", pa.large_string()),
        ("characters", pa.int64()),
        ("sha256", pa.string()),
    ]
)
TOKENS = pa.schema([("document", pa.int32()), ("length", pa.int32()), ("tokens", pa.list_(pa.int32()))])
SEQUENCES = pa.schema(
    [
        ("sequence", pa.int32()),
        ("document", pa.int32()),
        ("offset", pa.int32()),
        ("length", pa.int32()),
        ("tokens", pa.list_(pa.int32())),
    ]
)
