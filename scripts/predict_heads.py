"""Predict, from plain runs of other sequences, what wrong distances in a head cost."""

import numpy as np
import torch

from triaxis.attention.layout import probe_layouts
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.model.loading import open_model, revision_of
from triaxis.tolerance import displacement
from triaxis.tolerance.predictors import run_predictors
from triaxis.tolerance.schema import PREDICTORS

with reporting(snakemake.log[0]) as log:
    params, inputs = snakemake.params, snakemake.input
    torch.set_num_threads(snakemake.threads)
    sequences = parquet.read_parquet(inputs.sequences).slice(params.first, params.taken)
    numbers = sequences["sequence"].to_pylist()
    drawn = displacement.from_table(parquet.read_parquet(inputs.displacements), params.seed)
    model = open_model(inputs.record, params, None)
    rows = run_predictors(
        model,
        probe_layouts(model),
        np.array(sequences["tokens"].to_pylist(), dtype=np.int32),
        numbers,
        [drawn[number, params.fraction] for number in numbers],
    )
    upstream = parquet.read_metadata(inputs.sequences)
    metadata = provenance.describe(params, upstream | {"revision": revision_of(upstream, None)})
    parquet.write_parquet(snakemake.output[0], rows, PREDICTORS, metadata)
