"""Choose the sequences of one shard."""

import json

from triaxis import provenance, tables
from triaxis.faults import reporting
from triaxis.sampling import sample_sequences

with reporting(snakemake.log[0]):
    params = snakemake.params
    upstream = tables.read_metadata(snakemake.input[0])
    sequences = sample_sequences(
        tables.read_parquet(snakemake.input[0]),
        json.loads(upstream["prefix"]),
        params.length,
        params.per_document,
        range(params.first, params.last),
        params.seed,
    )
    metadata = provenance.describe(params, upstream | {"model": snakemake.wildcards.model})
    tables.write_parquet(snakemake.output[0], sequences, tables.SEQUENCES, metadata)
