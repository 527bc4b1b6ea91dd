"""The table of time and memory by model, method and length. It is never the same twice."""

from triaxis.base import files, tables
from triaxis.base.errors import reporting
from triaxis.length import summary

with reporting(snakemake.log[0]):
    rows = summary.costs(snakemake.input, snakemake.params.models, snakemake.params.methods)
    with files.whole(snakemake.output.csv) as part:
        part.write_text(tables.to_csv(rows))
