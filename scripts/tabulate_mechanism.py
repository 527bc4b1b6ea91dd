"""The table of the mechanism: how additive the logits of each model are, and where its norms lie; and for figures
additive.csv, pairs.csv and dummies.csv."""

from triaxis.attention import rope_file
from triaxis.base import files, parquet, query, tables
from triaxis.base.errors import reporting
from triaxis.mechanism import closed_form, summary

with reporting(snakemake.log[0]):
    params, inputs, outputs = snakemake.params, snakemake.input, snakemake.output
    rotaries = {
        model: rope_file.from_table(parquet.read_parquet(path))
        for model, path in zip(params.models, inputs.rope, strict=True)
    }
    null_r = {model: closed_form.null_r_additive(own, params.length) for model, own in rotaries.items()}
    judged = params.samples, params.seed
    queries = summary.additivity_by_sequence(inputs.additivity)
    stages = inputs.dummies, inputs.patterns
    made = {outputs.mechanism: summary.mechanism_by_model(queries, *stages, null_r, params.length, *judged)}
    # None, or the one table.
    made |= {path: summary.additive_by_prefix(queries, params.models, *judged) for path in outputs.prefixes}
    made[outputs.pairs] = summary.pairs_by_frequency(inputs.patterns, summary.frequency_tables(rotaries), *judged)
    for path, rows in made.items():
        with files.whole(path) as part:
            part.write_text(tables.to_csv(rows))
    query.write_csv(outputs.additive, summary.ADDITIVE, inputs.additivity, length=params.length)
    query.write_csv(outputs.dummies, summary.DUMMY_QUARTILES, inputs.dummies)
