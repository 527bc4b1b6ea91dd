"""Sum the logits of one shard over each axis as the model's own softmax receives them, and write none."""

import torch

from triaxis.attention.at_softmax import capture_logits
from triaxis.base import parquet
from triaxis.base.errors import reporting
from triaxis.fit.captured_sums import MatrixSums
from triaxis.fit.schema import SUMS
from triaxis.logits.logits import chosen_heads
from triaxis.model.inputs import input_device
from triaxis.model.loading import open_model, run_metadata
from triaxis.text import windows

Tensor = torch.Tensor

with reporting(snakemake.log[0]):
    params = snakemake.params
    torch.set_num_threads(snakemake.threads)
    numbers, tokens = windows.read_sequences(snakemake.input.sequences)
    model = open_model(snakemake.input.record, params, params.random_seed, attention="eager")
    metadata = run_metadata(params, parquet.read_metadata(snakemake.input.sequences))
    layers = None if params.layers == "all" else params.layers
    heads = None if params.heads == "all" else params.heads
    chosen = chosen_heads(heads, model.config.get_text_config().num_attention_heads)
    sums = MatrixSums(params.lengths, params.heldout_seed, input_device(model))
    with parquet.parquet_writer(snakemake.output[0], SUMS, metadata) as out:

        def write(sequence: int, layer: int, matrices: Tensor) -> None:
            for rows in sums.rows(sequence, layer, chosen, matrices[chosen]):
                out.write_table(rows)

        capture_logits(model, tokens, numbers, layers, batch_tokens=params.batch_tokens, keep=write)
