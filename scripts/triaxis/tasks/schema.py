"""The columns of the task stages."""

import pyarrow as pa

TASK_ITEMS = pa.schema(
    [
        ("item", pa.int32()),
        ("depth", pa.float64()),
        ("start", pa.int32()),
        ("stop", pa.int32()),
        ("tokens", pa.list_(pa.int32())),
        ("words", pa.list_(pa.int32())),
        ("answers", pa.list_(pa.list_(pa.int32()))),
        ("references", pa.list_(pa.string())),
    ]
)
TASKS = pa.schema(
    [
        ("item", pa.int32()),
        ("depth", pa.float64()),
        ("perturbation", pa.string()),
        ("fraction", pa.float64()),
        ("moved_fraction", pa.float64()),
        ("displacement", pa.float64()),
        ("candidates", pa.int32()),
        ("accuracy", pa.float64()),
        ("chosen", pa.float64()),
        ("log_probability", pa.float64()),
        ("prediction", pa.string()),
    ]
)
