"""The tables of the fits: axes.csv for every combination of axes, and heads.csv for figures."""

from triaxis import figure_tables, files, summary
from triaxis.axes import COMBINATIONS
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    table = summary.by_sequence(inputs.fits, inputs.sums)
    rows = [
        row
        for axes in COMBINATIONS
        for row in summary.summarise(table, axes, params.models, params.samples, params.seed)
    ]
    with files.whole(snakemake.output.axes) as part:
        part.write_text(summary.to_csv(rows))
    figure_tables.write(snakemake.output.heads, figure_tables.HEADS, inputs.fits)
