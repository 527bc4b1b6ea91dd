"""Perturb the distances of one layer, and of one head, of a model at a time, and measure what each costs."""

import numpy as np
import torch

from triaxis.attention.layout import probe_layouts
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.model.loading import open_model, revision_of
from triaxis.tolerance import displacement
from triaxis.tolerance.heads import run_heads
from triaxis.tolerance.schema import PERTURBED_HEADS

with reporting(snakemake.log[0]) as log:
    params, inputs = snakemake.params, snakemake.input
    torch.set_num_threads(snakemake.threads)
    sequences = parquet.read_parquet(inputs.sequences).slice(params.first, params.taken)
    numbers = sequences["sequence"].to_pylist()
    drawn = displacement.from_table(parquet.read_parquet(inputs.displacements), params.seed)
    model = open_model(inputs.record, params, None)
    rows = run_heads(
        model,
        probe_layouts(model),
        np.array(sequences["tokens"].to_pylist(), dtype=np.int32),
        numbers,
        [drawn[number, params.fraction] for number in numbers],
        batch_tokens=params.batch_tokens,
        layers=None if params.layers == "all" else params.layers,
    )
    upstream = parquet.read_metadata(inputs.sequences)
    metadata = provenance.describe(params, upstream | {"revision": revision_of(upstream, None)})
    parquet.write_parquet(snakemake.output[0], rows, PERTURBED_HEADS, metadata)
