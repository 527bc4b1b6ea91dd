"""triaxis.duckdb: a view over each stage's Parquet files and each table, so that a run can be queried in SQL."""

import os
from collections.abc import Mapping
from pathlib import Path

import duckdb

from triaxis.base.files import REMEDIES


def build_database(path: Path, stages: Mapping[str, str], tables: Mapping[str, str]) -> None:
    """Write a DuckDB file with one view a stage (name -> glob of Parquet files, hive-partitioned by model) and, in the
    schema `tables`, one a CSV table.

    The globs are kept as given: relative ones hold in the folder that the pipeline runs in. Raises OSError if the disk
    is full or may not be written.
    """
    try:
        _create_views(path, stages, tables)
    except duckdb.IOException as error:
        # DuckDB has the system's error as a text only; its number says what would mend it.
        for number in REMEDIES:
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number), str(path)) from error
        raise


def _create_views(path: Path, stages: Mapping[str, str], tables: Mapping[str, str]) -> None:
    with duckdb.connect(str(path)) as connection:
        for name, glob in stages.items():
            # A model's name stays text, even one that looks like a number or a date.
            hive = ", hive_types_autocast = false" if "model=" in glob else ""
            connection.execute(
                f"CREATE VIEW {name} AS SELECT * FROM "
                f"read_parquet('{glob}', hive_partitioning = {'model=' in glob}{hive})"
            )
        connection.execute("CREATE SCHEMA tables")
        for name, file in tables.items():
            connection.execute(
                f"CREATE VIEW tables.{name} AS SELECT * FROM read_csv('{file}', types = {{'model': 'VARCHAR'}})"
            )
