"""The table of time and memory by model, method and length. It is never the same twice."""

from triaxis import files, length_summary, summary
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    rows = length_summary.costs(snakemake.input, snakemake.params.models, snakemake.params.methods)
    with files.whole(snakemake.output.csv) as part:
        part.write_text(summary.to_csv(rows))
