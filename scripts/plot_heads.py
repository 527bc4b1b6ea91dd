"""Figure: r of the three-axis fit by layer and head, trained beside random."""

from triaxis import figure_data, plots
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    r = figure_data.r_by_head(snakemake.input[0], "distance+query+key")
    ordered = {model: r[model] for model in snakemake.params.models}
    plots.save(plots.plot_heads(ordered, "r of the three-axis fit"), snakemake.output)
