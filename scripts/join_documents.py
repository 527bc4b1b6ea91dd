"""Put documents end to end into sequences longer than most of them, and record where each begins."""

import json

from triaxis import provenance, tables
from triaxis.faults import reporting
from triaxis.sampling import join_documents

with reporting(snakemake.log[0]):
    params = snakemake.params
    upstream = tables.read_metadata(snakemake.input[0])
    rows = join_documents(
        tables.read_parquet(snakemake.input[0]),
        json.loads(upstream["prefix"]),
        params.length,
        params.sequences,
        params.seed,
    )
    tables.write_parquet(snakemake.output[0], rows, tables.LENGTH_SEQUENCES, provenance.describe(params, upstream))
