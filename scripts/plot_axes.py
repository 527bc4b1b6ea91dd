"""Figure: the distribution of r for each combination of axes, with the null marked."""

from triaxis import figure_data, plots
from triaxis.axes import COMBINATIONS
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    by_axes = {axes: figure_data.r_by_head(snakemake.input[0], axes) for axes in COMBINATIONS}
    r = {model: {axes: by_axes[axes][model].ravel() for axes in COMBINATIONS} for model in snakemake.params.models}
    plots.save(plots.plot_axes(r, figure_data.null_r(snakemake.input[0])), snakemake.output)
