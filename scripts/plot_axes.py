"""Figure: the distribution of r for each combination of axes, with the null marked."""

from triaxis.base.errors import reporting
from triaxis.fit import figures, summary
from triaxis.fit.axes import COMBINATIONS
from triaxis.report import style

with reporting(snakemake.log[0]):
    by_axes = {axes: summary.r_by_head(snakemake.input[0], axes) for axes in COMBINATIONS}
    r = {model: {axes: by_axes[axes][model].ravel() for axes in COMBINATIONS} for model in snakemake.params.models}
    style.save(figures.plot_axes(r, summary.null_r(snakemake.input[0])), snakemake.output)
