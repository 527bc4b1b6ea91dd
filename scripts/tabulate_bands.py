"""The table of surgery by frequency: what each change of a band leaves of each model."""

from triaxis.base import files, tables
from triaxis.base.errors import reporting
from triaxis.surgery import summary

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    rows = summary.by_band(inputs.bands, inputs.patterns, params.models, params.samples, params.seed)
    with files.whole(snakemake.output.csv) as part:
        part.write_text(tables.to_csv(rows))
