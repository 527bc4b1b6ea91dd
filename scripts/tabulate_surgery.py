"""The table of surgery: what each kind of logit, in all layers, leaves of each model."""

from triaxis import files, summary
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    params = snakemake.params
    rows = summary.by_variant(snakemake.input, params.models, params.samples, params.seed)
    with files.whole(snakemake.output.csv) as part:
        part.write_text(summary.to_csv(rows))
