"""Figure: perplexity by the fraction of words moved, each way, with intervals."""

from triaxis import plots, tolerance_plots, tolerance_summary
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    curves = tolerance_summary.curves(snakemake.input[0])
    plots.save(tolerance_plots.plot_tolerance(curves), snakemake.output)
