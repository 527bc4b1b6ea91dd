"""The one way to ask DuckDB: SQL over Parquet and CSV files."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from triaxis.base import files

Array = NDArray[np.float64]


def columns(sql: str, **parameters: Any) -> dict[str, NDArray]:
    """The columns of a query; a parameter that is a list of paths is given as text."""
    values = {
        name: [str(item) for item in value] if isinstance(value, list) else value for name, value in parameters.items()
    }
    with duckdb.connect(config={"threads": 1}) as connection:
        return connection.sql(sql, params=values).fetchnumpy()


def by_layer(rows: dict[str, NDArray], name: str) -> dict[str, Array]:
    """Rows sorted by model, layer, head -> model -> (layers, heads)."""
    return {
        model: rows[name][rows["model"] == model].reshape(len(np.unique(rows["layer"][rows["model"] == model])), -1)
        for model in np.unique(rows["model"])
    }


def write_csv(table: str | Path, sql: str, parquet: Sequence[str | Path]) -> None:
    """Write the rows of `sql` over the `parquet` files of a stage as CSV, floats in full, null as nothing. Raises
    UserError if the disk is full or may not be written, which DuckDB's own writer would not say in one line."""
    with duckdb.connect(config={"threads": 1}) as connection, files.whole(table) as part, part.open("w") as file:
        rows = connection.sql(sql, params={"files": [str(path) for path in parquet]})
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(rows.columns)
        lines.writerows(rows.fetchall())
