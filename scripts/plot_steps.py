"""Figure: the loss with f + g layer by layer, from both ends, and head by head."""

from triaxis.base.errors import reporting
from triaxis.report import style
from triaxis.surgery import figures, summary

with reporting(snakemake.log[0]):
    steps = summary.surgery_steps(snakemake.input[0], snakemake.params.variant)
    style.save(figures.plot_steps(steps), snakemake.output)
