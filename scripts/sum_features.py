"""Sum the logits of one shard over each axis as they are made from the features, and write none."""

import torch

from triaxis.attention import rope_file
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.fit.device_sums import MatrixSums, sum_features
from triaxis.fit.schema import SUMS
from triaxis.logits.features_file import read_features
from triaxis.model.devices import choose_device

with reporting(snakemake.log[0]), torch.inference_mode():
    params = snakemake.params
    torch.set_num_threads(snakemake.threads)
    # Sums need one device only: any will do for a model that is spread over several.
    device = choose_device(params.device if params.device != "spread" else "auto")
    rows = sum_features(
        read_features(snakemake.input.features),
        rope_file.from_table(parquet.read_parquet(snakemake.input.rope)),
        None if params.heads == "all" else params.heads,
        MatrixSums(params.length, params.half_seed, device),
        device,
    )
    metadata = provenance.describe(params, parquet.read_metadata(snakemake.input.features))
    parquet.write_parquet(snakemake.output[0], parquet.batched(rows), SUMS, metadata)
