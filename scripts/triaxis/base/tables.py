"""CSV tables: rows to text and back."""

import csv
from pathlib import Path


def to_csv(rows: list[dict]) -> str:
    """Rows as CSV, NaN as nothing, floats in the fewest digits that give them back: a table may be made of another."""
    lines = [",".join(rows[0]), *(",".join(map(_text, row.values())) for row in rows)]
    return "\n".join(lines) + "\n"


def _text(value: str | int | float) -> str:
    if value != value:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


TEXTS = {"model", "weights", "axes"}


def from_csv(path: str | Path) -> list[dict]:
    """The rows that `to_csv` gave: numbers as numbers, nothing as NaN; a model's name stays text."""

    def value(name: str, text: str) -> str | int | float:
        return text if name in TEXTS else int(text) if text.isdigit() else float(text or "nan")

    with open(path) as file:
        return [{name: value(name, text) for name, text in row.items()} for row in csv.DictReader(file)]
