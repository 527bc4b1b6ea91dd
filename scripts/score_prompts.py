"""Measure where each head looks in prompts of random tokens that come twice."""

import torch

from triaxis.attention import rope_file
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.heads.measure import prompt_rows
from triaxis.heads.schema import PROMPT_SCORES
from triaxis.mechanism.heads import batches
from triaxis.mechanism.layers import read_layers

with reporting(snakemake.log[0]):
    params, path = snakemake.params, snakemake.input.features
    torch.set_num_threads(snakemake.threads)
    rotaries = rope_file.from_table(parquet.read_parquet(snakemake.input.rope))
    rows = (prompt_rows(heads, params.period) for heads in batches(read_layers(path, rotaries), rotaries))
    metadata = provenance.describe(params, parquet.read_metadata(path))
    parquet.write_parquet(snakemake.output[0], parquet.batched(rows), PROMPT_SCORES, metadata)
