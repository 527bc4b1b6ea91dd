"""Build triaxis.duckdb: tables of what is small, and a view over the Parquet of each large stage."""

from contextlib import chdir
from pathlib import Path

from triaxis.base import files
from triaxis.base.errors import reporting
from triaxis.report.database import build_database

with reporting(snakemake.log[0]), files.whole(snakemake.output[0]) as part:
    # Paths hold in the folder that has results/ in it, wherever that is: a prefix, or a storage backend.
    target, folder, params = part.resolve(), Path(snakemake.output[0]).resolve().parents[1], snakemake.params
    with chdir(folder):
        build_database(target, folder, params.stages, params.large, params.tables)
