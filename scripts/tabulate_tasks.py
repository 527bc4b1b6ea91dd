"""The table of the tasks: accuracy of each model in each way, fraction by fraction."""

from triaxis import files, summary
from triaxis.faults import reporting
from triaxis.tasks_summary import by_condition

with reporting(snakemake.log[0]):
    params = snakemake.params
    rows = by_condition(snakemake.input, params.models, params.tasks, params.candidates, params.samples, params.seed)
    with files.whole(snakemake.output.csv) as part:
        part.write_text(summary.to_csv(rows))
