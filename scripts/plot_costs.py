"""Figure: time and memory against length."""

from triaxis.base import tables
from triaxis.base.errors import reporting
from triaxis.length import figures
from triaxis.report import style

with reporting(snakemake.log[0]):
    rows = tables.from_csv(snakemake.input[0])
    style.save(figures.plot_costs(rows, snakemake.params.methods), snakemake.output)
