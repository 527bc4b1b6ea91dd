"""Figure: accuracy on the tasks against the fraction of words disturbed."""

from triaxis import plots, tasks_plots, tasks_summary
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    rows = tasks_summary.read_conditions(snakemake.input[0])
    plots.save(tasks_plots.plot_tasks(rows, snakemake.wildcards.base, snakemake.params.control), snakemake.output)
