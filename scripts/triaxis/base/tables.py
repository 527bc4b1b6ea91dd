"""CSV tables: rows to text and back."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

# Names that a user chooses stay text, even one that looks like a number or a date.
CHOSEN = {"model": pa.string(), "task": pa.string()}


def to_csv(rows: list[dict]) -> str:
    """Rows as CSV, floats with 6 decimals, NaN as nothing."""
    lines = [",".join(rows[0])]
    for row in rows:
        lines.append(
            ",".join(
                "" if value != value else f"{value:.6f}" if isinstance(value, float) else str(value)
                for value in row.values()
            )
        )
    return "\n".join(lines) + "\n"


def read_columns(path: str | Path) -> dict[str, NDArray]:
    """The columns of a CSV table: numbers as numbers, nothing among them as NaN, names as text."""
    table = csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=CHOSEN))
    columns = zip(table.column_names, table.columns, strict=True)
    return {name: (own.cast(pa.float64()) if pa.types.is_null(own.type) else own).to_numpy() for name, own in columns}


def from_csv(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a CSV table, with the values that `read_columns` gives."""
    columns = {name: values.tolist() for name, values in read_columns(path).items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
