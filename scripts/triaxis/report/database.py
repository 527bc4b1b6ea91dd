"""triaxis.duckdb: a view over each stage's Parquet files and each table, so that a run can be queried in SQL."""

import os
from collections.abc import Mapping
from pathlib import Path

import duckdb

from triaxis.base import query
from triaxis.base.files import REMEDIES

# Of the DuckDB that must open the file: a reader may have another than this run.
OLDEST = "v1.1.0"


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
    with duckdb.connect(str(path), config={"storage_compatibility_version": OLDEST}) as connection:
        connection.execute("CREATE SCHEMA tables")
        views = {name: query.stage(f"'{glob}'") for name, glob in stages.items()}
        views |= {f"tables.{name}": query.table(file) for name, file in tables.items()}
        for name, rows in views.items():
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {rows}")
