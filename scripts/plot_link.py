"""Figure: the change of each head's logits as f alone foretells it, against the one that is seen."""

from triaxis import plots, tolerance_plots, tolerance_summary
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    fraction = snakemake.params.fraction
    heads = tolerance_summary.links(snakemake.input, fraction)
    plots.save(tolerance_plots.plot_link(heads, fraction), snakemake.output)
