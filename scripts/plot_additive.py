"""Figure: r_additive by layer and head, trained beside random."""

from triaxis import figure_data, plots
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    r = figure_data.additive_by_head(snakemake.input[0])
    ordered = {model: r[model] for model in snakemake.params.models}
    plots.save(plots.plot_heads(ordered, "r_additive"), snakemake.output)
