"""Figure: the loss with f + g layer by layer, from both ends, and head by head."""

from triaxis import figure_data, plots, surgery_plots
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    steps = figure_data.surgery_steps(snakemake.input[0], snakemake.params.variant)
    plots.save(surgery_plots.plot_steps(steps), snakemake.output)
