"""The table of surgery: what each kind of logit, in all layers, leaves of each model."""

from triaxis.base import files, tables
from triaxis.base.errors import reporting
from triaxis.surgery import summary

with reporting(snakemake.log[0]):
    params = snakemake.params
    rows = summary.by_variant(snakemake.input, params.models, params.samples, params.seed)
    with files.whole(snakemake.output.csv) as part:
        part.write_text(tables.to_csv(rows))
