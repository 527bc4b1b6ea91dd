"""The table of lengths: loss, passkeys, outputs, attention and components by model, method and length."""

from triaxis.base import files, tables
from triaxis.base.errors import reporting
from triaxis.length import summary

with reporting(snakemake.log[0]):
    rows = summary.length_by_method(snakemake.input, snakemake.params.models, snakemake.params.methods)
    with files.whole(snakemake.output.csv) as part:
        part.write_text(tables.to_csv(rows))
