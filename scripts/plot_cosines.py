"""Figure: how far each layer's attention output turns when order is perturbed."""

from triaxis.base.errors import reporting
from triaxis.report import style
from triaxis.tolerance import figures, summary

with reporting(snakemake.log[0]):
    style.save(figures.plot_cosines(summary.cosines(snakemake.input)), snakemake.output)
