"""From corpus files to a table of documents: DuckDB reads, one row comes out for each non-empty text.

A *query* here is a pair of SQL and its named parameters; names and paths reach DuckDB as parameters or quoted
identifiers, never as bare text.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from triaxis.base.errors import UserError
from triaxis.text import delimited, encoding, records
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
# One thread: a corpus is small beside what follows, and each further thread claims buffers of twice `_largest_value`.
SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": "1",
    "preserve_insertion_order": "true",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "arrow_large_buffer_size": "true",
}
NOT_UTF8 = re.compile(r"valid utf-?8|not utf-?8|invalid unicode|invalid string encoding", re.IGNORECASE)


class Corpus(NamedTuple):
    """documents: of schema `schema.DOCUMENTS`; empty: how many texts were left out, as they have no character;
    repeated: how many documents have the text of one before them."""

    documents: pa.Table
    empty: int
    repeated: int


class Given(NamedTuple):
    """A corpus file as it is read. file: as the user named it; plain: the same in UTF-8; text, title: columns."""

    connection: duckdb.DuckDBPyConnection
    file: Path
    plain: Path
    kind: str
    text: str
    title: str | None
    dialect: delimited.Dialect


def read_documents(
    files: Sequence[Path], format: str, text: str, title: str | None, csv: Mapping[str, Any] | None = None
) -> Corpus:
    """Read corpus files into a table of documents, numbered from 0: files sorted, rows in file order.

    format: auto (by suffix), txt, jsonl, json (an array of objects), csv (a header row) or parquet; whether JSON is
    an array or objects one after another is seen in the file.
    text: the column of the texts, each a string or a list of strings, of which every element is a document; unused
    by txt, where a file is a document. title: the column of the titles; where it is None or null the title is
    "stem:row", rows from 0; for txt, the file's stem. csv: `corpus.csv`, as `delimited.dialect` takes it. Empty and
    null texts are dropped; characters counts code points.
    Raises UserError for an unknown suffix or format, a file that cannot be read or decoded (`encoding.decode`), a
    missing column, a column that holds anything but text, a NUL in a text, and a corpus without text.
    """
    dialect = delimited.dialect(csv or {})
    with duckdb.connect(config=SETTINGS) as connection:
        tables = [_read_file(connection, file, format, text, title, dialect) for file in sorted(map(Path, files))]
    documents = pa.concat_tables(tables) if tables else DOCUMENTS.remove(0).empty_table()
    kept = documents.filter(pc.fill_null(pc.not_equal(documents["text"], ""), False))
    if not kept.num_rows:
        raise UserError(
            f"the corpus has no text in its {len(tables)} file(s), column {text!r}: name files and a column with text"
        )
    numbers = pa.array(range(kept.num_rows), pa.int32())
    return Corpus(
        kept.add_column(0, "document", numbers).cast(DOCUMENTS),
        documents.num_rows - kept.num_rows,
        kept.num_rows - pc.count_distinct(kept["sha256"]).as_py(),
    )


def _read_file(
    connection: duckdb.DuckDBPyConnection,
    file: Path,
    format: str,
    text: str,
    title: str | None,
    dialect: delimited.Dialect,
) -> pa.Table:
    """The texts of one file, empty and null ones too: title, text, characters, sha256. Raises UserError as
    `read_documents` does."""
    kind = _kind(file, format)
    if not file.is_file():
        raise UserError(f"{file} cannot be read: there is no such file; correct the path")
    with TemporaryDirectory() as scratch:
        plain = file
        try:
            if kind not in ("txt", "parquet"):
                plain = encoding.as_utf8(file, Path(scratch))
            given = Given(connection, file, plain, kind, text, title, dialect)
            query, parameters = READERS[kind](given)
            table = connection.sql(
                f"SELECT title, text, length(text)::BIGINT AS characters, sha256(text) AS sha256 FROM ({query})",
                params=parameters,
            ).to_arrow_table()
        except (OSError, EOFError, zlib.error, pa.ArrowInvalid) as error:
            raise UserError(f"{file} cannot be read as {kind}: {error}; mend the file or name its format") from None
        except duckdb.Error as error:
            raise _explain(error, given) from None
    nul = pc.index(pc.fill_null(pc.match_substring(table["text"], "\0"), False), True).as_py()
    if nul >= 0:
        raise UserError(f"{file} has a NUL character in {table['title'][nul].as_py()!r}: no text has one, take it out")
    return table


def _explain(error: duckdb.Error, given: Given) -> UserError:
    """What DuckDB could not read, in one line, with the line of the file that it means."""
    reason = str(error).splitlines()[0].partition("Error: ")[2] or str(error).splitlines()[0]
    if NOT_UTF8.search(reason):
        return UserError(f"{given.file} has text that is not valid UTF-8: write the file again with text that is")
    remedy = "mend the file or name its format"
    if given.kind == "csv":
        reason, remedy = delimited.fault(given.plain, given.dialect) or (reason, remedy)
    elif given.kind in ("json", "jsonl"):
        reason = records.fault(given.plain) or reason
    return UserError(f"{given.file} cannot be read as {given.kind}: {reason}; {remedy}")


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


def _read_txt(given: Given) -> Query:
    """The query (title, text) of a file that is one document."""
    content = "".join(encoding.decode(given.file))
    return "SELECT $stem AS title, $content AS text", {"content": content, "stem": given.file.stem}


def _read_csv(given: Given) -> Query:
    """The query (title, text) of a CSV file, whose columns go by number: DuckDB does not tell `Text` from `text`."""
    header = delimited.read_header(given.plain, given.dialect)
    for column in (given.text, given.title):
        if column is not None and column not in header.columns:
            raise _missing(given.file, column, header.columns, delimited.hint(header, column, given.dialect))
    own = {
        name: _quoted(f"c{_position(given.file, header.columns, name)}") for name in (given.text, given.title) if name
    }
    names = [f"c{number}" for number in range(len(header.columns))]
    source, parameters = delimited.reader(given.dialect, names, header.skip)
    parameters |= {"file": _literal(given.plain), "size": _largest_value(given.plain), "stem": _stem(given.file)}
    named = "NULL" if given.title is None else own[given.title]
    rows = f"SELECT {own[given.text]} AS text, {named} AS named, row_number() OVER () - 1 AS row FROM {source}"
    return _titled("text", rows), parameters


def _read_parquet(given: Given) -> Query:
    """The query (title, text) of a Parquet file."""
    source = "read_parquet($file, hive_partitioning = false)"
    parameters = {"file": _literal(given.file)}
    found = given.connection.execute(f"DESCRIBE SELECT * FROM {source}", parameters).fetchall()
    # DuckDB renames columns that differ in case only; their order stays.
    columns = pq.read_schema(given.file).names
    for column in (given.text, given.title):
        if column is not None and column not in columns:
            raise _missing(given.file, column, columns)
    own, duckdb_type, *_ = found[_position(given.file, columns, given.text)]
    if not re.fullmatch(r"VARCHAR(\[\d*\])?", duckdb_type):
        raise _not_text(given.file, given.text, duckdb_type)
    texts = _quoted(own) if "[" in duckdb_type else f"[{_quoted(own)}]"
    named = "NULL"
    if given.title is not None:
        named = f"{_quoted(found[_position(given.file, columns, given.title)][0])}::VARCHAR"
    rows = f"SELECT {texts} AS texts, {named} AS named, row_number() OVER () - 1 AS row FROM {source}"
    return _titled("unnest(texts)", rows), parameters | {"stem": _stem(given.file)}


def _read_json(given: Given) -> Query:
    """The query (title, text) of a JSON file, whose values are kept as JSON: guessing types would make some text dates.

    Leaves the rows in the temporary table `records`, since they are looked at more than once.
    """
    connection, text, title = given.connection, given.text, given.title
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE records AS SELECT json, row_number() OVER () - 1 AS row "
        "FROM read_json_objects($file, format = $layout, maximum_object_size = $size)",
        {"file": _literal(given.plain), "layout": records.layout(given.plain), "size": _largest_value(given.plain)},
    )
    for column in (text, title):
        if column is not None:
            rows, present = connection.execute(
                "SELECT count(*), count(json_type(json, $path)) FROM records", {"path": _pointer(column)}
            ).fetchall()[0]
            if rows and not present:
                names = connection.execute("SELECT DISTINCT unnest(json_keys(json)) FROM records ORDER BY 1").fetchall()
                raise _missing(given.file, column, [name for (name,) in names])
    parts = (
        "unnest(CASE json_type(json, $text) WHEN 'ARRAY' THEN (json -> $text)::JSON[] ELSE [json -> $text] END) AS part"
    )
    wrong = connection.execute(
        f"SELECT DISTINCT json_type(part) AS type FROM (SELECT {parts} FROM records) "
        "WHERE type NOT IN ('VARCHAR', 'NULL') ORDER BY type",
        {"text": _pointer(text)},
    ).fetchall()
    if wrong:
        raise _not_text(given.file, text, ", ".join(type for (type,) in wrong))
    named = "NULL" if title is None else "json ->> $title"
    query = _titled("part ->> '$'", f"SELECT {parts}, {named} AS named, row FROM records")
    parameters = {"text": _pointer(text), "stem": _stem(given.file)}
    return query, parameters | ({} if title is None else {"title": _pointer(title)})


READERS: dict[str, Callable[[Given], Query]] = {
    "txt": _read_txt,
    "jsonl": _read_json,
    "json": _read_json,
    "csv": _read_csv,
    "parquet": _read_parquet,
}


def _titled(text: str, rows: str) -> str:
    """SQL (title, text) from the SQL `rows` (named, row and what the expression `text` needs)."""
    return f"SELECT coalesce(named, $stem || ':' || row) AS title, {text} AS text FROM ({rows})"


def _missing(file: Path, column: str, columns: Iterable[str], hint: str = "") -> UserError:
    held = ", ".join(columns) or "none, since its records are no objects"
    return UserError(f"{file} has no column {column!r}: it has {held}{hint}")


def _position(file: Path, columns: Sequence[str], column: str) -> int:
    """Where a column is that is there; raises UserError if it is there twice."""
    if columns.count(column) > 1:
        raise UserError(f"{file} has {columns.count(column)} columns {column!r}: give them different names")
    return columns.index(column)


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
