"""Write the logit matrices of one shard, or of its first sequence, as the model's own softmax receives them."""

import torch

from triaxis.attention.at_softmax import capture_logits
from triaxis.base import parquet
from triaxis.base.errors import reporting
from triaxis.logits.logits import CausalCells, chosen_heads, writer
from triaxis.model.loading import open_model, run_metadata
from triaxis.text import windows

Tensor = torch.Tensor

with reporting(snakemake.log[0]):
    params = snakemake.params
    torch.set_num_threads(snakemake.threads)
    numbers, tokens = windows.read_sequences(snakemake.input.sequences)
    count = 1 if params.first_alone else len(numbers)
    model = open_model(snakemake.input.record, params, params.random_seed, attention="eager")
    metadata = run_metadata(params, parquet.read_metadata(snakemake.input.sequences))
    layers = None if params.layers == "all" else params.layers
    heads = None if params.heads == "all" else params.heads
    chosen = chosen_heads(heads, model.config.get_text_config().num_attention_heads)
    cells = CausalCells(chosen, tokens.shape[1])
    with writer(snakemake.output[0], metadata) as out:

        def write(sequence: int, layer: int, matrices: Tensor) -> None:
            table = cells.table(sequence, layer, matrices[chosen].float().cpu().numpy())
            out.write_table(table, row_group_size=len(table))

        capture_logits(model, tokens[:count], numbers[:count], layers, batch=params.batch, keep=write)
