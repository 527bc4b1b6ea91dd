"""Figure: time and memory against length."""

import csv
from pathlib import Path

from triaxis.base.errors import reporting
from triaxis.length import figures
from triaxis.report import style

with reporting(snakemake.log[0]):
    with Path(snakemake.input[0]).open() as file:
        rows = list(csv.DictReader(file))
    style.save(figures.plot_costs(rows, snakemake.params.methods), snakemake.output)
