"""Figure: the loss of each additive variant, all layers replaced."""

from triaxis import figure_data, plots, surgery_plots
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    losses = figure_data.surgery_losses(snakemake.input[0], snakemake.params.models)
    plots.save(surgery_plots.plot_surgery(losses), snakemake.output)
