"""The table of documents: every format, what is dropped, and what a user is told when a corpus is wrong."""

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from triaxis.base.errors import UserError
from triaxis.text import documents
from triaxis.text.documents import SETTINGS
from triaxis.text.schema import DOCUMENTS

RECORDS = [{"text": 'first, "quoted"\nline', "name": "A"}, {"text": "sécond 👍", "name": None}]


def write_jsonl(file: Path, records: list[dict]) -> None:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def write_csv(file: Path, records: list[dict]) -> None:
    quote = {'"': '""'}
    rows = [["text", "name"], *([record["text"], record["name"] or ""] for record in records)]
    cells = [[cell.translate(str.maketrans(quote)) for cell in row] for row in rows]
    file.write_text("".join(",".join(f'"{cell}"' if cell else "" for cell in row) + "\n" for row in cells))


def write_parquet_records(file: Path, records: list[dict]) -> None:
    pq.write_table(pa.Table.from_pylist(records), file)


WRITERS: dict[str, Callable[[Path, list[dict]], object]] = {
    "json": lambda file, records: file.write_text(json.dumps(records, indent=1)),
    "jsonl": write_jsonl,
    "ndjson": write_jsonl,
    "csv": write_csv,
    "parquet": write_parquet_records,
}


def read_documents(*arguments, **options) -> pa.Table:
    return documents.read_documents(*arguments, **options).documents


def message(*arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        read_documents(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_row_of_each_format_is_a_document(tmp_path, suffix):
    file = tmp_path / f"corpus.{suffix}"
    WRITERS[suffix](file, RECORDS)
    table = read_documents([file], "auto", "text", "name")
    assert table.schema == DOCUMENTS
    assert table.to_pylist() == [
        {
            "document": number,
            "title": title,
            "text": record["text"],
            "characters": len(record["text"]),
            "sha256": hashlib.sha256(record["text"].encode()).hexdigest(),
        }
        for number, (record, title) in enumerate(zip(RECORDS, ["A", "corpus:1"], strict=True))
    ]


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
def test_gzipped_files_are_read(tmp_path, suffix):
    plain = tmp_path / f"corpus.{suffix}"
    WRITERS[suffix](plain, RECORDS)
    packed = tmp_path / f"corpus.{suffix}.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_documents([packed], "auto", "text", None).equals(read_documents([plain], "auto", "text", None))


def test_format_overrides_the_suffix(tmp_path):
    file = tmp_path / "corpus.data"
    write_jsonl(file, RECORDS)
    assert read_documents([file], "jsonl", "text", None)["title"].to_pylist() == ["corpus:0", "corpus:1"]


def test_a_text_file_is_a_document_titled_by_its_stem(tmp_path):
    files = [tmp_path / name for name in ("b.txt", "a.txt", "empty.txt")]
    for file, content in zip(files, ["second\n", "first", ""], strict=True):
        file.write_text(content)
    table = read_documents(files, "auto", "unused", "unused")
    assert table["title"].to_pylist() == ["a", "b"]
    assert table["text"].to_pylist() == ["first", "second\n"]
    assert table["document"].to_pylist() == [0, 1]


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_each_element_of_a_list_is_a_document(tmp_path, suffix):
    speakers = [{"name": "X", "speeches": ["a", "", "b"]}, {"name": "Y", "speeches": []}]
    speakers += [{"name": "Z", "speeches": ["c", None]}]
    WRITERS[suffix](tmp_path / f"c.{suffix}", speakers)
    table = read_documents([tmp_path / f"c.{suffix}"], "auto", "speeches", "name")
    assert list(zip(table["title"].to_pylist(), table["text"].to_pylist(), strict=True)) == [
        ("X", "a"),
        ("X", "b"),
        ("Z", "c"),
    ]
    assert table["document"].to_pylist() == [0, 1, 2]


def test_json_rows_may_mix_strings_lists_and_nulls(tmp_path):
    write_jsonl(tmp_path / "c.jsonl", [{"t": "a"}, {"t": ["b", "c"]}, {"t": None}, {"other": 1}, {"t": "d"}])
    table = read_documents([tmp_path / "c.jsonl"], "auto", "t", None)
    assert table["text"].to_pylist() == ["a", "b", "c", "d"]
    assert table["title"].to_pylist() == ["c:0", "c:1", "c:1", "c:4"]


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
def test_text_that_looks_like_another_type_stays_as_written(tmp_path, suffix):
    texts = ["2020-01-02", "2020-01-03T00:00:00", "b2a1d3d0-7a1c-4a53-8a5e-6f6c1f0e2d11", "007"]
    WRITERS[suffix](tmp_path / f"c.{suffix}", [{"text": text, "name": "1.50"} for text in texts])
    table = read_documents([tmp_path / f"c.{suffix}"], "auto", "text", "name")
    assert table["text"].to_pylist() == texts
    assert table["title"].to_pylist() == ["1.50"] * 4


def test_paths_with_quotes_and_wildcards_are_taken_literally(tmp_path):
    folder = tmp_path / 'it\'s "x"'
    folder.mkdir()
    for suffix, writer in WRITERS.items():
        # As a glob, the first name would match the second file only.
        writer(folder / f"a[1].{suffix}", RECORDS)
        writer(folder / f"a1.{suffix}", [{"text": "decoy", "name": "decoy"}])
        writer(folder / f"*?.{suffix}", RECORDS)
        for name in ("a[1]", "*?"):
            assert read_documents([folder / f"{name}.{suffix}"], "auto", "text", "name").num_rows == 2
    (folder / "a[1].txt").write_text("good")
    (folder / "a1.txt").write_text("decoy")
    assert read_documents([folder / "a[1].txt"], "auto", "", None)["text"].to_pylist() == ["good"]


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_folder_named_like_a_partition_adds_no_column(tmp_path, suffix):
    (tmp_path / "year=1900").mkdir()
    file = tmp_path / "year=1900" / f"c.{suffix}"
    WRITERS[suffix](file, RECORDS)
    assert "no column 'year'" in message([file], "auto", "year", None)


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
def test_column_names_with_special_characters(tmp_path, suffix):
    text, title = """a"b'/~c$.[0] x""", "$t"
    WRITERS[suffix](tmp_path / f"c.{suffix}", [{text: "one", title: "T"}])
    table = read_documents([tmp_path / f"c.{suffix}"], "auto", text, title)
    assert (table["text"].to_pylist(), table["title"].to_pylist()) == (["one"], ["T"])


def test_order_is_the_files_sorted_and_their_rows(tmp_path):
    texts = [f"{number:06}" for number in range(130_000)]
    pq.write_table(pa.table({"text": texts[:125_000]}), tmp_path / "a.parquet", row_group_size=30_000)
    write_jsonl(tmp_path / "b.jsonl", [{"text": text} for text in texts[125_000:]])
    files = [tmp_path / "b.jsonl", tmp_path / "a.parquet"]
    table = read_documents(files, "auto", "text", None)
    assert table["text"].to_pylist() == texts
    assert table["title"][124_999].as_py() == "a:124999"
    assert table["document"].to_pylist() == list(range(130_000))
    assert table.equals(read_documents(files[::-1], "auto", "text", None))


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_a_value_larger_than_duckdb_takes_by_default(tmp_path, suffix):
    long = "long text " * 4_000_000
    WRITERS[suffix](tmp_path / f"c.{suffix}", [{"text": long, "name": "long"}])
    assert read_documents([tmp_path / f"c.{suffix}"], "auto", "text", None)["characters"].to_pylist() == [len(long)]


def test_what_reads_is_built_into_duckdb_and_nothing_else_is_fetched():
    with duckdb.connect(config=SETTINGS) as connection:
        built_in = connection.execute(
            "SELECT extension_name FROM duckdb_extensions() WHERE install_mode = 'STATICALLY_LINKED'"
        ).fetchall()
        fetching = connection.execute(
            "SELECT value FROM duckdb_settings() WHERE name IN "
            "('autoinstall_known_extensions', 'autoload_known_extensions')"
        ).fetchall()
    assert {("json",), ("parquet",)} <= set(built_in)
    assert fetching == [("false",), ("false",)]


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("columns", [("body", None), ("text", "headline")])
def test_a_missing_column_is_named_with_those_there_are(tmp_path, suffix, columns):
    file = tmp_path / f"c.{suffix}"
    WRITERS[suffix](file, RECORDS)
    text = message([file], "auto", *columns)
    assert str(file) in text and repr(columns[1] or columns[0]) in text
    assert "name, text" in text or "text, name" in text


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet"])
@pytest.mark.parametrize("value", [3, {"a": "b"}, [1, 2], [["nested"]]])
def test_a_column_that_is_not_text_is_refused(tmp_path, suffix, value):
    WRITERS[suffix](tmp_path / f"c.{suffix}", [{"text": value}])
    text = message([tmp_path / f"c.{suffix}"], "auto", "text", None)
    assert f"c.{suffix}" in text and "'text'" in text and "lists of text" in text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.txt", b"a\xff"),
        ("c.json", b'[{"text": "a\xff"}]'),
        ("c.jsonl", b'{"text": "a\xff"}\n'),
        ("c.csv", b"text,n\na\xff,1\n"),
    ],
)
def test_text_that_is_not_utf8_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    text = message([tmp_path / name], "auto", "text", None)
    assert str(tmp_path / name) in text and "UTF-8" in text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.json", b'[{"text": "a"}'),
        ("c.jsonl", b'{"text": \n'),
        ("c.parquet", b"not parquet"),
        ("c.jsonl.gz", b"not gzip"),
        ("c.csv", b"text,n\na,b,c\n"),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    text = message([tmp_path / name], "auto", "text", None)
    assert f"{tmp_path / name} cannot be read" in text and "UTF-8" not in text


@pytest.mark.parametrize("name", ["no.txt", "no.json", "no.csv", "no.parquet"])
def test_an_absent_file_is_named(tmp_path, name):
    assert f"{tmp_path / name} cannot be read" in message([tmp_path / name], "auto", "text", None)


@pytest.mark.parametrize("name", ["c.pdf", "c", "c.txt.gz", "c.parquet.gz"])
def test_an_unknown_suffix_is_refused(tmp_path, name):
    text = message([tmp_path / name], "auto", "text", None)
    assert str(tmp_path / name) in text and ".parquet" in text


def test_an_unknown_format_is_refused(tmp_path):
    assert "'yaml'" in message([tmp_path / "c.json"], "yaml", "text", None)


@pytest.mark.parametrize("records", [[], [{"text": ""}], [{"text": None}], [{"text": []}, {"text": ["", None]}]])
def test_a_corpus_without_text_is_refused(tmp_path, records):
    (tmp_path / "c.json").write_text(json.dumps(records))
    assert "no text" in message([tmp_path / "c.json"], "auto", "text", None)


def test_no_files_is_a_corpus_without_text():
    assert "0 file(s)" in message([], "auto", "text", None)
