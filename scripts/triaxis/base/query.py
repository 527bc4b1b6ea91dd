"""The one way to ask DuckDB: SQL over the Parquet files of a stage, and over CSV tables.

Two others connect by themselves: fit.sums, which streams a scan and spills, and report.database, which makes a file.
"""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from triaxis.base import files
from triaxis.base.tables import with_series

Array = NDArray[np.float64]
Columns = dict[str, NDArray]
Files = Sequence[str | Path]


def stage(paths: str = "$files") -> str:
    """SQL for the rows of a stage's Parquet files, their model and other folders among the columns, as text: a model
    may be named like a number or a date. paths: a parameter, or a literal, of SQL."""
    return f"read_parquet({paths}, hive_partitioning = true, hive_types_autocast = false)"


def table(path: str | Path) -> str:
    """SQL for the rows of a CSV table. Names that a user chooses stay text, also where they look like numbers."""
    with Path(path).open() as file:
        own = file.readline().strip().split(",")
    types = {"model": "VARCHAR", "series": "VARCHAR", "step": "INTEGER"}
    return f"read_csv('{path}', types = { ({name: kind for name, kind in types.items() if name in own}) })"


@contextmanager
def _asked(sql: str, parameters: dict[str, Any]) -> Iterator[duckdb.DuckDBPyRelation]:
    """The result of a query; a path, or a sequence of them, is given as text."""

    def plain(value: Any) -> Any:
        if isinstance(value, str | Path):
            return str(value)
        return value if isinstance(value, int | float) else [str(item) for item in value]

    # One thread: a job of a table has one core.
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection.sql(sql, params={name: plain(value) for name, value in parameters.items()})


def rows(sql: str, **parameters: Any) -> list[dict[str, Any]]:
    """The rows of a query, null as None; parameters: its own, a path or a sequence of paths among them."""
    with _asked(sql, parameters) as result:
        return result.to_arrow_table().to_pylist()


def columns(sql: str, **parameters: Any) -> Columns:
    """The columns of a query, null as NaN in a column of numbers; parameters: as for `rows`."""
    with _asked(sql, parameters) as result:
        found = result.to_arrow_table()
    return {name: found[name].to_numpy(zero_copy_only=False) for name in found.column_names}


def where(frame: Columns, **values: object) -> Columns:
    """The rows in which each named column has its value."""
    keep = np.logical_and.reduce([frame[name] == value for name, value in values.items()])
    return {name: column[keep] for name, column in frame.items()}


def by_layer(frame: Columns, name: str) -> dict[str, Array]:
    """Rows sorted by model, layer, head -> model -> (layers, heads) of the column `name`."""
    models = {model: where(frame, model=model) for model in np.unique(frame["model"])}
    return {model: own[name].reshape(len(np.unique(own["layer"])), -1) for model, own in models.items()}


def write_csv(path: str | Path, sql: str, parquet: Files, **parameters: Any) -> None:
    """Write the rows of `sql` over the `parquet` files of a stage as CSV, floats in full, null as nothing. Raises
    UserError if the disk is full or may not be written, which DuckDB's own writer would not say in one line.

    A row of a model says of which series and step it is. parameters: others of the query's, as for `rows`; a sequence
    is given as text.
    """
    with _asked(sql, {"files": parquet, **parameters}) as result, files.whole(path) as part, part.open("w") as file:
        lines = csv.writer(file, lineterminator="\n")
        found = [with_series(dict(zip(result.columns, row, strict=True))) for row in result.fetchall()]
        lines.writerow(found[0] if found else result.columns)
        lines.writerows(row.values() for row in found)
