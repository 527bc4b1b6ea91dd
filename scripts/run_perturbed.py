"""Run a model under one perturbation of order, at every fraction, and measure what it loses."""

import numpy as np
import torch

from triaxis.attention.layout import probe_layouts
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.model.loading import open_model
from triaxis.tolerance import displacement, plain, run
from triaxis.tolerance.schema import COSINES, TOLERANCE

with reporting(snakemake.log[0]) as log:
    params, inputs = snakemake.params, snakemake.input
    torch.set_num_threads(snakemake.threads)
    sequences = parquet.read_parquet(inputs.sequences).slice(0, params.taken)
    model = open_model(inputs.record, params, params.random_seed)
    results = run.run_perturbation(
        model,
        probe_layouts(model),
        snakemake.wildcards.perturbation,
        np.array(sequences["tokens"].to_pylist(), dtype=np.int32),
        sequences["sequence"].to_pylist(),
        plain.read_states(inputs.plain),
        displacement.from_table(parquet.read_parquet(inputs.displacements), params.seed),
        batch_tokens=params.batch_tokens,
        layers=None if params.layers == "all" else params.layers,
    )
    metadata = provenance.describe(params, parquet.read_metadata(inputs.plain))
    with (
        parquet.parquet_writer(snakemake.output.tolerance, TOLERANCE, metadata) as rows,
        parquet.parquet_writer(snakemake.output.cosines, COSINES, metadata) as cosines,
    ):
        for tokens, layers in results:
            rows.write_table(tokens)
            cosines.write_table(layers)
