"""Figure: the key component against the dummy distance."""

from triaxis import figure_data, mechanism_plots, plots
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    curves = figure_data.dummies_of(snakemake.input[0])
    plots.save(mechanism_plots.plot_dummies(curves, snakemake.params.models), snakemake.output)
