"""The tables of tolerance: what each perturbation costs at each fraction, and how the mechanism predicts it."""

from triaxis.base import files, tables
from triaxis.base.errors import reporting
from triaxis.tolerance import summary

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    rows = summary.tolerance_by_fraction(
        inputs.tolerance, params.models, params.perturbations, params.samples, params.seed
    )
    interaction = {row["model"]: row["mean_interaction"] for row in tables.from_csv(inputs.mechanism)}
    link = summary.link(inputs.links, rows, interaction, params.models)
    for path, content in ((snakemake.output.csv, rows), (snakemake.output.link, link)):
        with files.whole(path) as part:
            part.write_text(tables.to_csv(content))
