"""Figure: norm share and key constancy by frequency pair, trained against random."""

from triaxis.base.errors import reporting
from triaxis.mechanism import figures, summary
from triaxis.report import style

with reporting(snakemake.log[0]):
    pairs = summary.pairs_of(snakemake.input[0])
    ordered = {model: pairs[model] for model in snakemake.params.models}
    style.save(figures.plot_pairs(ordered), snakemake.output)
