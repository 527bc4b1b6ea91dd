"""The columns of the task stages."""

import pyarrow as pa

# task_items/model=MODEL/task=TASK/items.parquet: a prompt of a task, for one tokenizer
TASK_ITEMS = pa.schema(
    [
        ("item", pa.int32()),  # number of the prompt, from 0
        ("depth", pa.float64()),  # of a passkey in its text, as a share; else null
        ("start", pa.int32()),  # the context's first position
        ("stop", pa.int32()),  # the position after its last
        ("tokens", pa.list_(pa.int32())),  # token ids of the prompt
        ("words", pa.list_(pa.int32())),  # the word of each token; -1 for those that never move
        ("answers", pa.list_(pa.list_(pa.int32()))),  # each candidate's token ids, the true answer first
        ("references", pa.list_(pa.string())),  # the true answers as text
    ]
)
# tasks/model=MODEL/task=TASK/tasks.parquet: a prompt in one condition
TASKS = pa.schema(
    [
        ("item", pa.int32()),  # number of the prompt, from 0
        ("depth", pa.float64()),  # of a passkey in its text, as a share; else null
        ("perturbation", pa.string()),  # 'text', 'position' or 'feature'
        ("fraction", pa.float64()),  # of the units to be moved, as asked for
        ("moved_fraction", pa.float64()),  # of the units that may move, as it came out
        ("displacement", pa.float64()),  # mean absolute shift of a token of the context
        ("candidates", pa.int32()),  # answers that the item has, the true one among them
        ("accuracy", pa.float64()),  # the task's score of the answer
        ("chosen", pa.float64()),  # whether the true answer is the likeliest candidate; null without candidates
        ("log_probability", pa.float64()),  # of the true answer, nats a token
        ("prediction", pa.string()),  # what was written, where a task has no candidates
    ]
)
