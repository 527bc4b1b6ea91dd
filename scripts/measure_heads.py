"""Measure where each head looks in one shard's sequences, and how its logits run along their sub-diagonals."""

import torch

from triaxis.attention import rope_file
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.heads.measure import attention_rows
from triaxis.heads.schema import HEAD_ATTENTION
from triaxis.mechanism.heads import batches
from triaxis.mechanism.layers import read_layers

with reporting(snakemake.log[0]):
    params, path = snakemake.params, snakemake.input.features
    torch.set_num_threads(snakemake.threads)
    rotaries = rope_file.from_table(parquet.read_parquet(snakemake.input.rope))
    rows = (attention_rows(heads, params.queries) for heads in batches(read_layers(path, rotaries), rotaries))
    metadata = provenance.describe(params, parquet.read_metadata(path))
    parquet.write_parquet(snakemake.output[0], parquet.batched(rows), HEAD_ATTENTION, metadata)
