"""triaxis.duckdb: a run's stages and tables, so that it can be queried in SQL, wherever the file lies."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from triaxis.base import query
from triaxis.base.files import REMEDIES

# Of the DuckDB that must open the file: a reader may have another than this run.
OLDEST = "v1.1.0"
# The variable of a reader that says where the folder with results/ in it lies now.
MOVED = "run"


def build_database(
    path: Path,
    folder: Path,
    stages: Mapping[str, Sequence[str]],
    large: Mapping[str, str],
    tables: Mapping[str, str],
) -> None:
    """Write a DuckDB file: small stages as tables (name -> Parquet files, hive-partitioned by model), CSV tables as
    tables in the schema `tables`, and large stages as views (name -> glob of Parquet files, below `folder`).

    What the file holds is there wherever it goes. A view reads below `folder`, or below what a reader's variable says:
    SET VARIABLE run = '...'; it fails where its files are not, and DuckDB names them. Raises OSError if the disk is
    full or may not be written.
    """
    try:
        with duckdb.connect(str(path), config={"storage_compatibility_version": OLDEST}) as connection:
            connection.execute("CREATE SCHEMA tables")
            held = {name: query.stage(f"[{', '.join(map(_quoted, files))}]") for name, files in stages.items()}
            held |= {f"tables.{name}": query.table(file) for name, file in tables.items()}
            for name, rows in held.items():
                connection.execute(f"CREATE TABLE {name} AS SELECT * FROM {rows}")
            for name, glob in large.items():
                place = f"coalesce(getvariable('{MOVED}'), {_quoted(_literal(folder))}) || {_quoted(f'/{glob}')}"
                connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {query.stage(place)}")
    except duckdb.IOException as error:
        # DuckDB has the system's error as a text only; its number says what would mend it.
        for number in REMEDIES:
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number), str(path)) from error
        raise


def _quoted(text: str) -> str:
    """A literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _literal(folder: Path) -> str:
    """A folder's name as a glob that finds nothing else."""
    return re.sub(r"([*?\[])", r"[\1]", str(folder))
