"""The table of lengths: loss, passkeys, outputs, attention and components by model, method and length."""

from triaxis import files, length_summary, summary
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    rows = length_summary.summarise(snakemake.input, snakemake.params.models, snakemake.params.methods)
    with files.whole(snakemake.output.csv) as part:
        part.write_text(summary.to_csv(rows))
