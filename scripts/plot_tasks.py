"""Figure: accuracy on the tasks against the fraction of words perturbed."""

from triaxis.base.errors import reporting
from triaxis.report import style
from triaxis.tasks import figures, summary

with reporting(snakemake.log[0]):
    rows = summary.read_conditions(snakemake.input[0])
    style.save(figures.plot_tasks(rows, snakemake.wildcards.base, snakemake.params.control), snakemake.output)
