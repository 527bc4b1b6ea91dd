"""Figure: the mean distance component by layer."""

from triaxis.base.errors import reporting
from triaxis.fit import figures, summary
from triaxis.report import style

with reporting(snakemake.log[0]):
    layers, components = summary.distance_by_layer(snakemake.input)
    models = snakemake.params.models
    figure = figures.plot_distance({model: components[model] for model in models}, layers)
    style.save(figure, snakemake.output)
