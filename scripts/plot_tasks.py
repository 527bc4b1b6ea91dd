"""Figure: accuracy on the tasks against the fraction of words perturbed."""

from triaxis.base import tables
from triaxis.base.errors import reporting
from triaxis.report import style
from triaxis.tasks import figures

with reporting(snakemake.log[0]):
    rows = tables.from_csv(snakemake.input[0])
    style.save(figures.plot_tasks(rows, snakemake.wildcards.base, snakemake.params.control), snakemake.output)
