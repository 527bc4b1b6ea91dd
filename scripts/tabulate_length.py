"""The table of lengths: loss, passkeys, outputs, attention and components by model, method and length."""

from triaxis.base import files, tables
from triaxis.base.errors import reporting
from triaxis.length import summary

with reporting(snakemake.log[0]):
    params = snakemake.params
    rows = summary.length_by_method(snakemake.input, params.models, params.methods, params.samples, params.seed)
    with files.whole(snakemake.output.csv) as part:
        part.write_text(tables.to_csv(rows))
