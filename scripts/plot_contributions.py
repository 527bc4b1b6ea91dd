"""Figure: where f, g and the interaction live along the frequency axis."""

from triaxis import figure_data, mechanism_plots, plots
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    pairs = figure_data.pairs_of(snakemake.input[0])
    ordered = {model: pairs[model] for model in snakemake.params.models}
    plots.save(mechanism_plots.plot_contributions(ordered), snakemake.output)
