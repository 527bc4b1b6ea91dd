"""The table of tolerance: what each perturbation costs at each fraction."""

from triaxis.base import files, tables
from triaxis.base.errors import reporting
from triaxis.tolerance import summary

with reporting(snakemake.log[0]):
    params = snakemake.params
    rows = summary.tolerance_by_fraction(
        snakemake.input, params.models, params.perturbations, params.samples, params.seed
    )
    with files.whole(snakemake.output.csv) as part:
        part.write_text(tables.to_csv(rows))
