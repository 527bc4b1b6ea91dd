"""Figure: how far each layer's attention output turns when order is disturbed."""

from triaxis import plots, tolerance_plots, tolerance_summary
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    plots.save(tolerance_plots.plot_cosines(tolerance_summary.cosines(snakemake.input)), snakemake.output)
