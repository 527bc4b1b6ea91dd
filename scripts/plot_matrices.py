"""Figure: the logits of the best, the median and the worst head beside their fit, residual and components."""

from triaxis import figure_data, plots
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    examples = figure_data.matrix_examples(
        snakemake.input.fits, snakemake.input.logits, snakemake.input.components, snakemake.params.length
    )
    plots.save(plots.plot_matrices(examples), snakemake.output)
