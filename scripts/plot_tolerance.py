"""Figure: perplexity by the fraction of words moved, each perturbation, with intervals."""

from triaxis.base.errors import reporting
from triaxis.report import style
from triaxis.tolerance import figures, summary

with reporting(snakemake.log[0]):
    curves = summary.curves(snakemake.input[0])
    style.save(figures.plot_tolerance(curves), snakemake.output)
