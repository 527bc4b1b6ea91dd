"""Figure: r of the three-axis fit by layer and head, trained beside random."""

from triaxis.base.errors import reporting
from triaxis.fit import figures, summary
from triaxis.fit.axes import FULL
from triaxis.report import style

with reporting(snakemake.log[0]):
    r = summary.r_by_head(snakemake.input[0], FULL)
    ordered = {model: r[model] for model in snakemake.params.models}
    style.save(figures.plot_heads(ordered, "r of the three-axis fit"), snakemake.output)
