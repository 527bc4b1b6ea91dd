"""Change one band of frequencies of a model at a time, and measure what it loses."""

import numpy as np
import torch

from triaxis.attention.layout import probe_layouts
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.model.loading import open_model
from triaxis.surgery import additive
from triaxis.surgery.bands import run_bands
from triaxis.surgery.schema import BANDS

with reporting(snakemake.log[0]) as log:
    params = snakemake.params
    torch.set_num_threads(snakemake.threads)
    sequences = parquet.read_parquet(snakemake.input.sequences).slice(0, params.taken)
    model = open_model(snakemake.input.record, params, None)
    rows = run_bands(
        model,
        probe_layouts(model),
        np.array(sequences["tokens"].to_pylist(), dtype=np.int32),
        sequences["sequence"].to_pylist(),
        additive.from_table(parquet.read_parquet(snakemake.input.parameters)),
        batch_tokens=params.batch_tokens,
        edges=params.edges,
    )
    metadata = provenance.describe(params, parquet.read_metadata(snakemake.input.parameters))
    parquet.write_parquet(snakemake.output[0], rows, BANDS, metadata)
