"""Figure: the loss of each additive variant, all layers replaced."""

from triaxis.base.errors import reporting
from triaxis.report import style
from triaxis.surgery import figures, summary

with reporting(snakemake.log[0]):
    losses = summary.surgery_losses(snakemake.input[0], snakemake.params.models)
    style.save(figures.plot_surgery(losses), snakemake.output)
