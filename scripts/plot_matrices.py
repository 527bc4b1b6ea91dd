"""Figure: the logits of the best, the median and the worst head beside their fit, residual and components."""

from triaxis.base.errors import reporting
from triaxis.fit import figures, summary
from triaxis.report import style

with reporting(snakemake.log[0]):
    examples = summary.matrix_examples(
        snakemake.input.fits, snakemake.input.logits, snakemake.input.components, snakemake.params.length
    )
    style.save(figures.plot_matrices(examples), snakemake.output)
