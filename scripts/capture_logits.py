"""Write the logit matrices of one shard, or a sample of them, as the model's own softmax receives them."""

import numpy as np
import torch

from triaxis.attention.at_softmax import capture_logits
from triaxis.base import parquet
from triaxis.base.errors import reporting
from triaxis.logits.logits import CausalCells, chosen_heads, sample_positions, writer
from triaxis.model.loading import open_model, run_metadata
from triaxis.text import windows

Tensor = torch.Tensor

with reporting(snakemake.log[0]):
    params = snakemake.params
    torch.set_num_threads(snakemake.threads)
    numbers, tokens = windows.read_sequences(snakemake.input.sequences)
    count, positions = len(numbers), np.arange(tokens.shape[1])
    if params.sample is not None:  # the first sequence alone, thinned
        count, positions = 1, sample_positions(tokens.shape[1], params.sample)
    model = open_model(snakemake.input.record, params, params.random_seed, attention="eager")
    metadata = run_metadata(params, parquet.read_metadata(snakemake.input.sequences))
    layers = None if params.layers == "all" else params.layers
    heads = None if params.heads == "all" else params.heads
    chosen = chosen_heads(heads, model.config.get_text_config().num_attention_heads)
    cells = CausalCells(chosen, positions)
    with writer(snakemake.output[0], metadata) as out:

        def write(sequence: int, layer: int, matrices: Tensor) -> None:
            table = cells.table(sequence, layer, matrices[chosen][:, positions][:, :, positions].float().cpu().numpy())
            out.write_table(table, row_group_size=len(table))

        capture_logits(model, tokens[:count], numbers[:count], layers, batch_tokens=params.batch_tokens, keep=write)
