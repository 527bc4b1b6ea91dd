"""Figure: the mean distance component by layer."""

from triaxis import figure_data, plots
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    layers, components = figure_data.distance_by_layer(snakemake.input)
    models = snakemake.params.models
    figure = plots.plot_distance({model: components[model] for model in models}, layers)
    plots.save(figure, snakemake.output)
