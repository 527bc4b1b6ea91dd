"""CSV files: how they are written, their header, and where one breaks its own rules."""

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from triaxis.base.errors import UserError
from triaxis.text.encoding import decode

# What else separates columns, in files that are called .csv.
DELIMITERS = (";", "\t", "|", ",")


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written, one character each, "" for none; the names are those of `corpus.csv`.

    delimiter: between columns. quote: around a value that holds the delimiter, itself or a line end. escape: before
    a quote within quotes (the quote itself: doubled). skip: lines before the header."""

    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    skip: int = 0


class Header(NamedTuple):
    """columns: their names, in order; skip: how many lines lie before them; line: the header as it is written."""

    columns: list[str]
    skip: int
    line: str


def dialect(options: Mapping[str, Any]) -> Dialect:
    """The dialect of `corpus.csv`, completed; an escape that is not given is the quote, doubled.

    Raises UserError for a key or a value that makes no dialect.
    """
    options = {key: value for key, value in options.items() if value is not None}
    known = [field.name for field in fields(Dialect)]
    for key, value in options.items():
        if key not in known:
            raise UserError(f"corpus.csv.{key} is unknown: it is {', '.join(known)}")
        if key == "skip" and (type(value) is not int or value < 0):
            raise UserError(f"corpus.csv.skip {value!r} is not a number of lines: give 0 or more")
        if key != "skip" and (not isinstance(value, str) or len(value) > 1 or value in ("\r", "\n", "\0")):
            raise UserError(f"corpus.csv.{key} {value!r} is not one character: give one, or '' for none")
    own = Dialect(**{"escape": options.get("quote", '"')} | dict(options))
    if own.delimiter in ("", own.quote, own.escape):
        raise UserError("corpus.csv.delimiter is none of its own: give one that is neither quote nor escape")
    return own


def read_header(file: Path, own: Dialect) -> Header:
    """The header of a CSV file in UTF-8: its first line that is neither skipped nor empty.

    Raises UserError if there is none.
    """
    lines = _lines(file)
    for skip, line in enumerate(lines):
        if skip < own.skip or not line.strip():
            continue
        try:
            return Header(next(_rows(chain([line], lines), own)), skip, line.rstrip("\r\n"))
        except csv.Error as error:
            raise UserError(
                f"{file} cannot be read as csv: its header, line {skip + 1}, is broken ({error}); mend the file, or "
                "set corpus.csv.quote or corpus.csv.escape"
            ) from None
    raise UserError(f"{file} cannot be read as csv: it has no header; give one, or name the format of the corpus")


def reader(own: Dialect, columns: Sequence[str], skip: int) -> tuple[str, dict[str, Any]]:
    """DuckDB's call, of $file and $size, that reads `columns` after the header, and its parameters: no guesses."""
    names = ", ".join(f"'{name}': 'VARCHAR'" for name in columns)
    call = (
        f"read_csv($file, auto_detect = false, columns = {{{names}}}, header = true, skip = $skip, delim = $delimiter, "
        "quote = $quote, escape = $escape, comment = '', max_line_size = $size, hive_partitioning = false)"
    )
    return call, {"skip": skip, "delimiter": own.delimiter, "quote": own.quote, "escape": own.escape}


def hint(header: Header, column: str, own: Dialect) -> str:
    """What to set if another delimiter would give a header the column that it lacks; nothing if none does."""
    for delimiter in DELIMITERS:
        if delimiter != own.delimiter and column in [name.strip("\"' ") for name in header.line.split(delimiter)]:
            return f"; set corpus.csv: {{delimiter: {_shown(delimiter)}}} if that is what separates its columns"
    return ""


def fault(file: Path, own: Dialect) -> tuple[str, str] | None:
    """Where a CSV file in UTF-8 breaks its rules, and how, and what may mend it; None if Python's reader agrees."""
    header = read_header(file, own)
    lines = _lines(file)
    for _ in range(header.skip):
        next(lines)
    rows, width = _rows(lines, own), len(header.columns)
    start = 0
    try:
        for row in rows:
            if row and len(row) != width:
                return (
                    f"line {header.skip + start + 1} has {len(row)} columns where the header has {width}",
                    f"quote values that hold {_shown(own.delimiter)}, or set corpus.csv.delimiter or corpus.csv.quote",
                )
            start = rows.line_num
    except csv.Error as error:
        return (
            f"line {header.skip + start + 1} opens a quote that is not closed as it should be ({error})",
            "mend it, or set corpus.csv.quote ('' if quotes are text) or corpus.csv.escape",
        )
    ends = _line_ends(file)
    if len(ends) > 1:
        return f"its lines end in different ways ({' and '.join(map(repr, sorted(ends)))})", "make them alike"
    return None


def _rows(lines: Iterator[str], own: Dialect) -> Any:
    csv.field_size_limit(sys.maxsize)
    doubled = own.escape == own.quote
    return csv.reader(
        lines,
        delimiter=own.delimiter,
        quotechar=own.quote or None,
        quoting=csv.QUOTE_MINIMAL if own.quote else csv.QUOTE_NONE,
        escapechar=None if doubled or not own.escape else own.escape,
        doublequote=doubled,
        strict=True,
    )


def _lines(file: Path) -> Iterator[str]:
    """The lines of a file with their ends, \\n, \\r\\n or \\r."""
    left = ""
    for piece in decode(file):
        left += piece
        *whole, left = io.StringIO(left, newline="").readlines() or [""]
        yield from whole
    if left:
        yield left


def _line_ends(file: Path) -> set[str]:
    return {line[len(line.rstrip("\r\n")) :] for line in _lines(file)} - {""}


def _shown(character: str) -> str:
    return '"\\t"' if character == "\t" else f"'{character}'"
