"""The tables of tolerance: what each perturbation and fraction costs, and how the mechanism predicts it."""

import csv
from pathlib import Path

from triaxis.base import files, tables
from triaxis.base.errors import reporting
from triaxis.tolerance import summary

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    rows = summary.tolerance_by_fraction(
        inputs.tolerance, params.models, params.perturbations, params.samples, params.seed
    )
    with Path(inputs.mechanism).open() as file:
        interaction = {row["model"]: float(row["mean_interaction"] or "nan") for row in csv.DictReader(file)}
    link = summary.link(inputs.links, rows, interaction, params.models)
    for path, content in ((snakemake.output.csv, rows), (snakemake.output.link, link)):
        with files.whole(path) as part:
            part.write_text(tables.to_csv(content))
