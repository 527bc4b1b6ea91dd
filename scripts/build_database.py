"""Build triaxis.duckdb: a view over the Parquet of each stage."""

from contextlib import chdir
from pathlib import Path

from triaxis.base import files
from triaxis.base.errors import reporting
from triaxis.report.database import build_database

with reporting(snakemake.log[0]), files.whole(snakemake.output[0]) as part:
    # The views' paths hold in the folder that has results/ in it, wherever that is: a prefix, or a storage backend.
    target = part.resolve()
    with chdir(Path(snakemake.output[0]).resolve().parents[1]):
        build_database(target, snakemake.params.views, snakemake.params.tables)
