"""The tables of the fits: headline.csv and .tex, and axes.csv for every combination of axes."""

import csv

from triaxis import files, summary
from triaxis.axes import COMBINATIONS
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    params = snakemake.params
    table = summary.by_sequence(snakemake.input.fits, snakemake.input.sums)
    rows = {axes: summary.summarise(table, axes, params.models, params.samples, params.seed) for axes in COMBINATIONS}
    mechanism = {}
    for path in snakemake.input.mechanism:
        with open(path) as file:
            mechanism |= {row["model"]: row for row in csv.DictReader(file)}
    headline = summary.headline(rows["distance+query+key"], mechanism)
    contents = {
        snakemake.output.csv: summary.to_csv(headline),
        snakemake.output.tex: summary.to_tex(headline),
        snakemake.output.axes: summary.to_csv([row for axes in COMBINATIONS for row in rows[axes]]),
    }
    for path, content in contents.items():
        with files.whole(path) as part:
            part.write_text(content)
