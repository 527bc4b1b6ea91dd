"""The tables of the fits: axes.csv for every combination of axes, and r_by_head.csv for figures."""

from triaxis.base import files, query, tables
from triaxis.base.errors import reporting
from triaxis.fit import summary
from triaxis.fit.combinations import COMBINATIONS

with reporting(snakemake.log[0]):
    params = snakemake.params
    table = summary.of_whole_sequences(summary.by_sequence(snakemake.input))
    rows = [
        row
        for axes in COMBINATIONS
        for row in summary.fits_by_model(table, axes, params.models, params.samples, params.seed)
    ]
    with files.whole(snakemake.output.axes) as part:
        part.write_text(tables.to_csv(rows))
    query.write_csv(snakemake.output.r, summary.R_BY_HEAD, snakemake.input)
