"""Figure: time and memory against length."""

import csv
from pathlib import Path

from triaxis import length_plots, plots
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    with Path(snakemake.input[0]).open() as file:
        rows = list(csv.DictReader(file))
    plots.save(length_plots.plot_costs(rows, snakemake.params.methods), snakemake.output)
