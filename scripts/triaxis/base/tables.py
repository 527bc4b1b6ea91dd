"""CSV tables: rows to text and back."""

import csv
from pathlib import Path


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


TEXTS = {"model", "weights", "axes"}


def from_csv(path: str | Path) -> list[dict]:
    """The rows that `to_csv` gave: numbers as numbers, nothing as NaN; a model's name stays text."""

    def value(name: str, text: str) -> str | int | float:
        return text if name in TEXTS else int(text) if text.isdigit() else float(text or "nan")

    with open(path) as file:
        return [{name: value(name, text) for name, text in row.items()} for row in csv.DictReader(file)]
