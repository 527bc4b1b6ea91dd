"""Sum the logits of one shard over each axis as the model's own softmax receives them, and write none."""

import torch

from triaxis import sampling, tables
from triaxis.device_sums import MatrixSums
from triaxis.faults import reporting
from triaxis.logits import chosen_heads
from triaxis.models import describe_run, open_model
from triaxis.softmax import Tensor, capture_logits

with reporting(snakemake.log[0]):
    params, options = snakemake.params, snakemake.params.features
    torch.set_num_threads(snakemake.threads)
    numbers, tokens = sampling.read_sequences(snakemake.input.sequences)
    model = open_model(snakemake.input.record, options, params.random_seed, attention="eager")
    metadata = describe_run(params, options, tables.read_metadata(snakemake.input.sequences))
    layers = None if options["layers"] == "all" else options["layers"]
    heads = None if params.heads == "all" else params.heads
    chosen = chosen_heads(heads, model.config.get_text_config().num_attention_heads)
    sums = MatrixSums(tokens.shape[1], params.half_seed, model.device)
    with tables.parquet_writer(snakemake.output[0], tables.SUMS, metadata) as parquet:

        def write(sequence: int, layer: int, matrices: Tensor) -> None:
            parquet.write_table(sums.rows(sequence, layer, chosen, matrices[chosen]))

        capture_logits(model, tokens, numbers, layers, batch=options["batch"], keep=write)
