"""The table of the mechanism: how additive the logits of each model are, and where its norms lie; and for figures
additive.csv, pairs.csv and dummies.csv."""

from triaxis.attention import rope_file
from triaxis.base import files, parquet, query, tables
from triaxis.base.errors import reporting
from triaxis.mechanism import additivity, complex_form, summary

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    distances = complex_form.evenly(params.length, params.distances)
    rotaries = {
        model: rope_file.from_table(parquet.read_parquet(path))
        for model, path in zip(params.models, inputs.rope, strict=True)
    }
    null_r = {model: additivity.null_r_additive(own, distances) for model, own in rotaries.items()}
    rows = summary.mechanism_by_model(
        inputs.additivity, inputs.dummies, inputs.patterns, null_r, params.samples, params.seed
    )
    with files.whole(snakemake.output.mechanism) as part:
        part.write_text(tables.to_csv(rows))
    query.write_csv(snakemake.output.additive, summary.R_ADDITIVE, inputs.additivity)
    query.write_csv(snakemake.output.pairs, summary.PAIRS, inputs.patterns, **summary.frequency_tables(rotaries))
    query.write_csv(snakemake.output.dummies, summary.DUMMY_QUARTILES, inputs.dummies)
