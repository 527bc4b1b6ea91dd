"""The rows of a table as its readers see them: rounded, with intervals beside their value, and turned where few.

What is the same in all rows is said once, before them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

DASH = "–"
DIGITS = 3
# At most so many rows stand as columns of a table that has more columns than rows.
MOST_TURNED = 4
# Columns that are left out where they are empty: most models are of no series.
OPTIONAL = ("series", "step")


@dataclass(frozen=True)
class Cells:
    """A table of texts: its heads, which of its columns are numbers, its rows, and (head, text) of what all have."""

    heads: list[str]
    numbers: list[bool]
    rows: list[list[str]]
    common: list[tuple[str, str]]


def cells_of(rows: Sequence[Row]) -> Cells:
    """The rows of a CSV table, as `tables.from_csv` gives them, at least one. A column NAME has its interval beside it,
    where there are columns NAME_low and NAME_high."""
    names = [name for name in rows[0] if not _is_end(name, rows[0])]
    names = [name for name in names if name not in OPTIONAL or not all(map(_empty, _column(rows, name)))]
    columns = {name: _shown(rows, name) for name in names}
    if len(rows) <= min(MOST_TURNED, len(names) - 1):
        return _turned(columns, rows)
    same = [name for name in names[1:] if len(set(columns[name])) == 1]
    kept = [name for name in names if name not in same]
    return Cells(
        heads=[_head(name, rows) for name in kept],
        numbers=[not any(isinstance(value, str) for value in _column(rows, name)) for name in kept],
        rows=[list(row) for row in zip(*(columns[name] for name in kept), strict=True)],
        common=[(name, columns[name][0]) for name in same],
    )


def _turned(columns: Mapping[str, list[str]], rows: Sequence[Row]) -> Cells:
    """A row as a column: the first column's values are the heads."""
    (corner, heads), *rest = columns.items()
    named = [[_head(name, rows), *values] for name, values in rest]
    return Cells([corner, *heads], [False, *[True] * len(rows)], named, [])


def number(value: float, places: int = DIGITS) -> str:
    """A number with so many decimals, fewer if it is large; a dash for NaN."""
    if value != value:
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:,.{_places(value, places)}f}"
    # What is rounded to nothing has no sign.
    return text.replace("-", "−" if any(digit in text for digit in "123456789") else "")


def with_interval(row: Row, name: str, places: int = DIGITS) -> str:
    """A number of a row and its 95 % interval, if it has one, with as many decimals."""
    value, low, high = row[name], row.get(f"{name}_low"), row.get(f"{name}_high")
    if _empty(value) or low is None or high is None or _empty(low) or _empty(high):
        return DASH if _empty(value) else number(value, places)
    ends = (number(end, _places(value, places)) for end in (low, high))
    return f"{number(value, places)} [{', '.join(ends)}]"


def _shown(rows: Sequence[Row], name: str) -> list[str]:
    """A column's values as texts, with as many decimals as the column needs, at most DIGITS; as powers of ten if none
    would be left of any."""
    values = [value for value in _column(rows, name) if isinstance(value, float) and value == value]
    if any(values) and all(abs(value) < 0.5 / 10**DIGITS for value in values):
        return [DASH if _empty(row[name]) else f"{row[name]:.1e}".replace("-", "−") for row in rows]
    places = max(map(_needed, values), default=0)
    return [_text(row, name, places) for row in rows]


def _text(row: Row, name: str, places: int) -> str:
    value = row[name]
    if _empty(value):
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else with_interval(row, name, places)


def _column(rows: Sequence[Row], name: str) -> list[Any]:
    return [row[name] for row in rows]


def _empty(value: Any) -> bool:
    return value is None or value == "" or value != value


def _needed(value: float) -> int:
    """How many decimals a number needs, at most DIGITS."""
    return next((places for places in range(DIGITS) if math.isclose(round(value, places), value)), DIGITS)


def _places(value: float, places: int) -> int:
    """How many decimals a number of this size is given: five digits at most, unless more stand before the point."""
    before = len(str(int(abs(value))))
    return min(places, max(0, 4 - before)) if before > 1 else places


def _head(name: str, rows: Sequence[Row]) -> str:
    """A column's name; with it, what its brackets are, if there are any."""
    bracketed = _has_ends(name, rows[0]) and not all(map(_empty, _column(rows, f"{name}_low")))
    return f"{name} [95 %]" if bracketed else name


def _has_ends(name: str, row: Row) -> bool:
    return f"{name}_low" in row and f"{name}_high" in row


def _is_end(name: str, row: Row) -> bool:
    base, _, end = name.rpartition("_")
    return end in ("low", "high") and base in row and _has_ends(base, row)
