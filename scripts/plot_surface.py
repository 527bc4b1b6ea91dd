"""Figure: the logits of one query over dummy distance and key, beside f + g."""

from triaxis import figure_data, mechanism_plots, plots
from triaxis.faults import reporting
from triaxis.mechanism import make_grid

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    grid = make_grid(params.length, **params.grid)
    surface, title = figure_data.typical_surface(inputs.probes, inputs.features, inputs.rope, grid)
    plots.save(mechanism_plots.plot_surface(surface, f"{snakemake.wildcards.model}, {title}"), snakemake.output)
