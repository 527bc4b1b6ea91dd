"""The table of the mechanism: how additive the logits of each model are, and where its norms lie; and for figures
additive.csv, pairs.csv and dummies.csv."""

from triaxis import figure_tables, files, mechanism, mechanism_summary, rope, summary, tables
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    distances = mechanism.evenly(params.length, params.distances)
    null_r = {
        model: mechanism.null_r(rope.from_table(tables.read_parquet(path)), distances)
        for model, path in zip(params.models, inputs.rope, strict=True)
    }
    rows = mechanism_summary.summarise(
        inputs.probes, inputs.dummies, inputs.patterns, null_r, params.samples, params.seed
    )
    with files.whole(snakemake.output.mechanism) as part:
        part.write_text(summary.to_csv(rows))
    figure_tables.write(snakemake.output.additive, figure_tables.ADDITIVE, inputs.probes)
    figure_tables.write(snakemake.output.pairs, figure_tables.PAIRS, inputs.patterns)
    figure_tables.write(snakemake.output.dummies, figure_tables.DUMMIES, inputs.dummies)
