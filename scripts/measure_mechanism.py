"""Measure the mechanism in one shard's queries and keys: how additive each query's logits are, whole matrices at dummy
distances, and pair by pair."""

import torch

from triaxis.attention import rope_file
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.mechanism.heads import batches
from triaxis.mechanism.layers import read_layers, write_stages
from triaxis.mechanism.measure import SCHEMAS, Mechanism

with reporting(snakemake.log[0]):
    params, path = snakemake.params, snakemake.input.features
    torch.set_num_threads(snakemake.threads)
    rotaries = rope_file.from_table(parquet.read_parquet(snakemake.input.rope))
    mechanism = Mechanism(params.length, params.distances, params.prefixes)
    tables = map(mechanism.tables, batches(read_layers(path, rotaries), rotaries))
    metadata = provenance.describe(params, parquet.read_metadata(path))
    write_stages({stage: snakemake.output[stage] for stage in SCHEMAS}, SCHEMAS, tables, metadata)
