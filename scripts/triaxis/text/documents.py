"""From corpus files to a table of documents: DuckDB reads, one row comes out for each non-empty text.

A *query* here is a pair of SQL and its named parameters; names and paths reach DuckDB as parameters or quoted
identifiers, never as bare text.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from triaxis.base.errors import UserError
from triaxis.text.schema import DOCUMENTS

Query = tuple[str, dict[str, Any]]

SUFFIXES = {
    ".txt": "txt",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
}
GZIPPED = {"jsonl", "json", "csv"}
JSON_LAYOUTS = {"json": "array", "jsonl": "newline_delimited"}
CSV_OPTIONS = (
    "header = true, skip = 0, all_varchar = true, delim = ',', quote = '\"', escape = '\"', comment = '', "
    "max_line_size = $size, "
)
# One thread: a corpus is small beside what follows, and each further thread claims buffers of twice `_largest_value`.
SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": "1",
    "preserve_insertion_order": "true",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "arrow_large_buffer_size": "true",
}
NOT_UTF8 = re.compile(r"valid utf-?8|not utf-?8|invalid unicode", re.IGNORECASE)


def read_documents(files: Sequence[Path], format: str, text: str, title: str | None) -> pa.Table:
    """Read corpus files into a table of schema DOCUMENTS, numbered from 0: files sorted, rows in file order.

    format: auto (by suffix), txt, jsonl, json (an array of objects), csv (commas, a header row) or parquet.
    text: the column of the texts, each a string or a list of strings, of which every element is a document; unused
    by txt, where a file is a document. title: the column of the titles; where it is None or null the title is
    "stem:row", rows from 0; for txt, the file's stem. Empty and null texts are dropped; characters counts code points.
    Raises UserError for an unknown suffix or format, a file that cannot be read or is not UTF-8, a missing column,
    a column that holds anything but text, and a corpus without text.
    """
    with duckdb.connect(config=SETTINGS) as connection:
        tables = [_read_file(connection, file, format, text, title) for file in sorted(map(Path, files))]
    documents = pa.concat_tables(tables) if tables else DOCUMENTS.empty_table()
    if not documents.num_rows:
        raise UserError(
            f"the corpus has no text in its {len(tables)} file(s), column {text!r}: name files and a column with text"
        )
    numbers = pa.array(range(documents.num_rows), pa.int32())
    return documents.add_column(0, "document", numbers).cast(DOCUMENTS)


def _read_file(
    connection: duckdb.DuckDBPyConnection, file: Path, format: str, text: str, title: str | None
) -> pa.Table:
    """The documents of one file: title, text, characters, sha256. Raises UserError as `read_documents` does."""
    kind = _kind(file, format)
    if not file.is_file():  # DuckDB's read_text takes an absent file for an empty set of files
        raise UserError(f"{file} cannot be read: there is no such file; correct the path")
    try:
        query, parameters = READERS[kind](connection, file, kind, text, title)
        return connection.sql(
            "SELECT title, text, length(text)::BIGINT AS characters, sha256(text) AS sha256 "
            f"FROM ({query}) WHERE text <> ''",
            params=parameters,
        ).to_arrow_table()
    except duckdb.Error as error:
        if NOT_UTF8.search(str(error)):
            raise UserError(f"{file} is not valid UTF-8: convert it, for example with iconv -t UTF-8") from None
        raise UserError(
            f"{file} cannot be read as {kind}: {str(error).splitlines()[0]}; mend the file or name its format"
        ) from None


def _kind(file: Path, format: str) -> str:
    """The format of `file`: `format` itself, or by suffix for auto."""
    if format != "auto":
        if format not in READERS:
            raise UserError(f"format {format!r} is unknown: it is auto, {', '.join(READERS)}")
        return format
    gzipped = file.suffix.lower() == ".gz"
    kind = SUFFIXES.get(Path(file.stem if gzipped else file.name).suffix.lower())
    if kind is None or (gzipped and kind not in GZIPPED):
        raise UserError(
            f"{file} has a suffix of no known format: name it {', '.join(SUFFIXES)} (.json, .jsonl, .ndjson and .csv "
            "also with .gz) or set the format of the corpus"
        )
    return kind


def _read_txt(connection: duckdb.DuckDBPyConnection, file: Path, kind: str, text: str, title: str | None) -> Query:
    """The query (title, text) of a file that is one document."""
    return "SELECT $stem AS title, content AS text FROM read_text($file)", {"file": _literal(file), "stem": file.stem}


def _read_columns(connection: duckdb.DuckDBPyConnection, file: Path, kind: str, text: str, title: str | None) -> Query:
    """The query (title, text) of a CSV or Parquet file."""
    source = f"read_{kind}($file, {CSV_OPTIONS if kind == 'csv' else ''}hive_partitioning = false)"
    parameters = {"file": _literal(file)} | ({"size": _largest_value(file)} if kind == "csv" else {})
    types = {
        name: duckdb_type
        for name, duckdb_type, *_ in connection.execute(f"DESCRIBE SELECT * FROM {source}", parameters).fetchall()
    }
    for column in (text, title):
        if column is not None and column not in types:
            raise _missing(file, column, types)
    if not re.fullmatch(r"VARCHAR(\[\d*\])?", types[text]):
        raise _not_text(file, text, types[text])
    texts = _quoted(text) if "[" in types[text] else f"[{_quoted(text)}]"
    named = "NULL" if title is None else f"{_quoted(title)}::VARCHAR"
    rows = f"SELECT {texts} AS texts, {named} AS named, row_number() OVER () - 1 AS row FROM {source}"
    return _titled("unnest(texts)", rows), parameters | {"stem": _stem(file)}


def _read_json(connection: duckdb.DuckDBPyConnection, file: Path, kind: str, text: str, title: str | None) -> Query:
    """The query (title, text) of a JSON file, whose values are kept as JSON: guessing types would make some text dates.

    Leaves the rows in the temporary table `records`, since they are looked at more than once.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE records AS SELECT json, row_number() OVER () - 1 AS row "
        "FROM read_json_objects($file, format = $layout, maximum_object_size = $size)",
        {"file": _literal(file), "layout": JSON_LAYOUTS[kind], "size": _largest_value(file)},
    )
    for column in (text, title):
        if column is not None:
            rows, present = connection.execute(
                "SELECT count(*), count(json_type(json, $path)) FROM records", {"path": _pointer(column)}
            ).fetchall()[0]
            if rows and not present:
                names = connection.execute("SELECT DISTINCT unnest(json_keys(json)) FROM records ORDER BY 1").fetchall()
                raise _missing(file, column, [name for (name,) in names])
    parts = (
        "unnest(CASE json_type(json, $text) WHEN 'ARRAY' THEN (json -> $text)::JSON[] ELSE [json -> $text] END) AS part"
    )
    wrong = connection.execute(
        f"SELECT DISTINCT json_type(part) AS type FROM (SELECT {parts} FROM records) "
        "WHERE type NOT IN ('VARCHAR', 'NULL') ORDER BY type",
        {"text": _pointer(text)},
    ).fetchall()
    if wrong:
        raise _not_text(file, text, ", ".join(type for (type,) in wrong))
    named = "NULL" if title is None else "json ->> $title"
    query = _titled("part ->> '$'", f"SELECT {parts}, {named} AS named, row FROM records")
    parameters = {"text": _pointer(text), "stem": _stem(file)}
    return query, parameters | ({} if title is None else {"title": _pointer(title)})


READERS: dict[str, Callable[[duckdb.DuckDBPyConnection, Path, str, str, str | None], Query]] = {
    "txt": _read_txt,
    "jsonl": _read_json,
    "json": _read_json,
    "csv": _read_columns,
    "parquet": _read_columns,
}


def _titled(text: str, rows: str) -> str:
    """SQL (title, text) from the SQL `rows` (named, row and what the expression `text` needs)."""
    return f"SELECT coalesce(named, $stem || ':' || row) AS title, {text} AS text FROM ({rows})"


def _missing(file: Path, column: str, columns: Iterable[str]) -> UserError:
    return UserError(f"{file} has no column {column!r}: it has {', '.join(columns) or 'none'}")


def _not_text(file: Path, column: str, found: str) -> UserError:
    return UserError(f"{file}, column {column!r} holds {found}: name a column of text or of lists of text")


def _stem(file: Path) -> str:
    """The name without its suffix, nor the one before .gz."""
    return Path(file.stem).stem if file.suffix.lower() == ".gz" else file.stem


def _largest_value(file: Path) -> int:
    """Bytes that one record of `file` may take: no more than the file, 1 GiB at most.

    DuckDB allocates buffers of this size, so asking for 1 GiB outright would need a large machine for any corpus."""
    expansion = 1032 if file.suffix.lower() == ".gz" else 1  # 1032 is the most that deflate can expand
    return min(max(file.stat().st_size * expansion, 1 << 24), 1 << 30)


def _literal(file: Path) -> str:
    """The path as a DuckDB glob that matches this path alone."""
    return re.sub(r"([*?\[])", r"[\1]", str(file))


def _quoted(name: str) -> str:
    """The name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _pointer(name: str) -> str:
    """The JSON Pointer (RFC 6901) of the top-level key `name`."""
    return "/" + name.replace("~", "~0").replace("/", "~1")
