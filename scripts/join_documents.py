"""Make long sequences, each of documents of its own, and record where each document begins."""

import json

from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.text.joined import JOINED, join_documents

with reporting(snakemake.log[0]):
    params = snakemake.params
    upstream = parquet.read_metadata(snakemake.input[0])
    rows = join_documents(
        parquet.read_parquet(snakemake.input[0]),
        json.loads(upstream["prefix"]),
        params.length,
        params.sequences,
        params.seed,
    )
    parquet.write_parquet(snakemake.output[0], rows, JOINED, provenance.describe(params, upstream))
