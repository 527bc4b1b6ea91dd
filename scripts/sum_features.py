"""Sum the logits of one shard over each axis as they are made from the features, and write none."""

import torch

from triaxis import provenance, rope, tables
from triaxis.device_sums import MatrixSums, sum_features
from triaxis.faults import reporting
from triaxis.features import read_features
from triaxis.models import choose_device

with reporting(snakemake.log[0]), torch.inference_mode():
    params = snakemake.params
    torch.set_num_threads(snakemake.threads)
    # Sums need one device only: any will do for a model that is spread over several.
    device = choose_device(params.device if params.device != "spread" else "auto")
    rows = sum_features(
        read_features(snakemake.input.features),
        rope.from_table(tables.read_parquet(snakemake.input.rope)),
        None if params.heads == "all" else params.heads,
        MatrixSums(params.length, params.half_seed, device),
        device,
    )
    metadata = provenance.describe(params, tables.read_metadata(snakemake.input.features))
    tables.write_parquet(snakemake.output[0], tables.batched(rows), tables.SUMS, metadata)
