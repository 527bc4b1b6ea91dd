"""Figure: r_additive by layer and head, trained beside random."""

from triaxis.base.errors import reporting
from triaxis.fit import figures
from triaxis.mechanism import summary
from triaxis.report import style

with reporting(snakemake.log[0]):
    r = summary.additive_by_head(snakemake.input[0])
    ordered = {model: r[model] for model in snakemake.params.models}
    style.save(figures.plot_heads(ordered, "r_additive"), snakemake.output)
