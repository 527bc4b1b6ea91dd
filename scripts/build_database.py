"""Build triaxis.duckdb: a view over the Parquet of each stage."""

from triaxis import files
from triaxis.database import build_database
from triaxis.faults import reporting

with reporting(snakemake.log[0]), files.whole(snakemake.output[0]) as part:
    build_database(part, snakemake.params.views, snakemake.params.tables)
