"""triaxis.duckdb: a view over each stage's Parquet files and each table, so that a run can be queried in SQL."""

from collections.abc import Mapping
from pathlib import Path

import duckdb


def build_database(path: Path, stages: Mapping[str, str], tables: Mapping[str, str]) -> None:
    """Write a DuckDB file with one view a stage (name -> glob of Parquet files, hive-partitioned by model) and one a
    CSV table. The globs are kept as given: relative ones hold in the folder that the pipeline runs in."""
    with duckdb.connect(str(path)) as connection:
        for name, glob in stages.items():
            connection.execute(
                f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{glob}', hive_partitioning = {'model=' in glob})"
            )
        for name, file in tables.items():
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_csv('{file}')")
