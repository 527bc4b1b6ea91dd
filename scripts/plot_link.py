"""Figure: the change of each head's logits as f alone predicts it, against the one that is seen."""

from triaxis.base.errors import reporting
from triaxis.report import style
from triaxis.tolerance import figures, summary

with reporting(snakemake.log[0]):
    fraction = snakemake.params.fraction
    heads = summary.links(snakemake.input, fraction)
    style.save(figures.plot_link(heads, fraction), snakemake.output)
