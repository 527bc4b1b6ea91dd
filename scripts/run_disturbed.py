"""Run a model with its order disturbed in one way, at every fraction, and measure what it loses."""

import numpy as np
import torch

from triaxis import displacement, provenance, tables, tolerance
from triaxis.capture import probe_layouts
from triaxis.faults import reporting
from triaxis.models import open_model

with reporting(snakemake.log[0]) as log:
    params, inputs = snakemake.params, snakemake.input
    torch.set_num_threads(snakemake.threads)
    sequences = tables.read_parquet(inputs.sequences).slice(0, params.taken)
    model = open_model(inputs.record, params, params.random_seed)
    results = tolerance.run_way(
        model,
        probe_layouts(model),
        snakemake.wildcards.way,
        np.array(sequences["tokens"].to_pylist(), dtype=np.int32),
        sequences["sequence"].to_pylist(),
        tolerance.read_states(inputs.plain),
        displacement.from_table(tables.read_parquet(inputs.displacements), params.seed),
        batch=params.batch,
        layers=None if params.layers == "all" else params.layers,
    )
    metadata = provenance.describe(params, tables.read_metadata(inputs.plain))
    with (
        tables.parquet_writer(snakemake.output.tolerance, tables.TOLERANCE, metadata) as rows,
        tables.parquet_writer(snakemake.output.cosines, tables.COSINES, metadata) as cosines,
    ):
        for tokens, layers in results:
            rows.write_table(tokens)
            cosines.write_table(layers)
