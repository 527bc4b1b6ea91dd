"""The table of the tasks: accuracy of each model under each perturbation, fraction by fraction."""

from triaxis.base import files, tables
from triaxis.base.errors import reporting
from triaxis.tasks.summary import by_condition

with reporting(snakemake.log[0]):
    params = snakemake.params
    rows = by_condition(snakemake.input, params.models, params.tasks, params.samples, params.seed)
    with files.whole(snakemake.output.csv) as part:
        part.write_text(tables.to_csv(rows))
