"""Run a model on unperturbed text and keep what its perturbed runs are compared with."""

from itertools import chain

import numpy as np
import torch

from triaxis.attention.replay import attention_modules
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.model.loading import open_model, revision_of
from triaxis.tolerance.plain import run_plain, states_to_tables

with reporting(snakemake.log[0]) as log:
    params = snakemake.params
    torch.set_num_threads(snakemake.threads)
    sequences = parquet.read_parquet(snakemake.input.sequences).slice(0, params.taken)
    model = open_model(snakemake.input.record, params, params.random_seed)
    attention_modules(model)
    tokens = np.array(sequences["tokens"].to_pylist(), dtype=np.int32)
    states = zip(sequences["sequence"].to_pylist(), run_plain(model, tokens, params.batch_tokens), strict=True)
    rows = chain.from_iterable(states_to_tables(number, each) for number, each in states)
    first = next(rows)
    upstream = parquet.read_metadata(snakemake.input.sequences)
    metadata = provenance.describe(params, upstream | {"revision": revision_of(upstream, params.random_seed)})
    with parquet.parquet_writer(
        snakemake.output[0], first.schema, metadata, compression="NONE", use_dictionary=False, write_statistics=False
    ) as writer:
        for table in chain([first], rows):
            writer.write_table(table)
