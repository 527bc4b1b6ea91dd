"""CSV tables: rows to text and back."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from triaxis.base.names import series_of, step_of

# Names that a user chooses stay text, even one that looks like a number or a date.
CHOSEN = {"model": pa.string(), "series": pa.string(), "task": pa.string()}


def to_csv(rows: list[dict]) -> str:
    """Rows as CSV, NaN and None as nothing, floats in the fewest digits that give them back: a table may be made of
    another. A row of a model says of which series and step it is, as `with_series` does."""
    rows = [with_series(row) for row in rows]
    lines = [",".join(rows[0]), *(",".join(map(_text, row.values())) for row in rows)]
    return "\n".join(lines) + "\n"


def read_columns(path: str | Path) -> dict[str, NDArray]:
    """The columns of a CSV table: numbers as numbers, nothing among them as NaN, names as text."""
    table = csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=CHOSEN))
    columns = zip(table.column_names, table.columns, strict=True)
    return {name: (own.cast(pa.float64()) if pa.types.is_null(own.type) else own).to_numpy() for name, own in columns}


def with_series(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the columns `series` and `step` behind `model`, its first, None for a model of no series; a row
    without a column `model` is itself."""
    if "model" not in row:
        return row
    own = {"model": row["model"], "series": series_of(row["model"]), "step": step_of(row["model"])}
    return own | {name: value for name, value in row.items() if name not in own}


def _text(value: str | int | float | None) -> str:
    if value is None or value != value:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def from_csv(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a CSV table, with the values that `read_columns` gives."""
    columns = {name: values.tolist() for name, values in read_columns(path).items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
