"""The tables of heads: a row a head, how many there are of each class, the least additive ones, and what goes with
what."""

from triaxis.base import files, tables
from triaxis.base.errors import reporting
from triaxis.heads import summary

with reporting(snakemake.log[0]):
    params, outputs = snakemake.params, snakemake.output
    rows = summary.read_heads(snakemake.input)
    made = {
        outputs.heads: [row for model in params.models for row in rows if row["model"] == model],
        outputs.classes: summary.class_counts(rows, params.models),
        outputs.least: summary.least_additive(rows, params.models),
        outputs.relations: summary.relations(rows, params.models, params.samples, params.seed),
    }
    for path, own in made.items():
        with files.whole(path) as part:
            part.write_text(tables.to_csv(own))
