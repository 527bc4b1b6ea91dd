"""Corpus files as users have them: encodings, marks, broken rows and lines; each is read right or named in one line."""

import codecs
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from triaxis.base.errors import UserError
from triaxis.text import encoding
from triaxis.text.delimited import Dialect, dialect
from triaxis.text.documents import read_documents

WHAT = "what, größe 字 👍\n"
JSONL = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in ("a, ö", "字"))
CSV = 'text,n\n"a, ö",1\n字,2\n'


def texts(file: Path, **options) -> list[str]:
    return read_documents([file], "auto", "text", None, **options).documents["text"].to_pylist()


def complaint(file: Path, **options) -> str:
    with pytest.raises(UserError) as caught:
        texts(file, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# kind, sample, the file's name, its content, and the texts that are read
READ: list[tuple[str, str, str, str | bytes, list[str]]] = [
    ("encoding", "UTF-8 without a mark", "a.txt", WHAT, [WHAT]),
    ("encoding", "UTF-8 with a mark", "a.txt", codecs.BOM_UTF8 + WHAT.encode(), [WHAT]),
    ("encoding", "UTF-16, little-endian, with a mark", "a.txt", codecs.BOM_UTF16_LE + WHAT.encode("utf-16-le"), [WHAT]),
    ("encoding", "UTF-16, big-endian, with a mark", "a.txt", codecs.BOM_UTF16_BE + WHAT.encode("utf-16-be"), [WHAT]),
    ("encoding", "JSON lines with a mark", "a.jsonl", codecs.BOM_UTF8 + JSONL.encode(), ["a, ö", "字"]),
    ("encoding", "JSON lines in UTF-16", "a.jsonl", codecs.BOM_UTF16_LE + JSONL.encode("utf-16-le"), ["a, ö", "字"]),
    ("encoding", "gzipped JSON lines in UTF-16", "a.jsonl.gz", gzip.compress(JSONL.encode("utf-16")), ["a, ö", "字"]),
    (
        "encoding",
        "gzipped JSON lines with a mark",
        "a.json.gz",
        gzip.compress(JSONL.encode("utf-8-sig")),
        ["a, ö", "字"],
    ),
    ("encoding", "a CSV with a mark before its header", "a.csv", CSV.encode("utf-8-sig"), ["a, ö", "字"]),
    ("encoding", "a CSV in UTF-16", "a.csv", CSV.encode("utf-16"), ["a, ö", "字"]),
    ("encoding", "a gzipped CSV in UTF-16", "a.csv.gz", gzip.compress(CSV.encode("utf-16")), ["a, ö", "字"]),
    ("encoding", "a mark within a text", "a.txt", "a\ufeffb", ["a\ufeffb"]),
    (
        "encoding",
        "control characters that are no NUL",
        "a.txt",
        "a\x00b\x07\x1b[0m\x85\r\n".replace("\x00", ""),
        ["ab\x07\x1b[0m\x85\r\n"],
    ),
    ("encoding", "a suffix in capitals", "A.JSONL", JSONL, ["a, ö", "字"]),
    ("encoding", "a suffix in capitals, gzipped", "A.CSV.GZ", gzip.compress(CSV.encode()), ["a, ö", "字"]),
    ("CSV", "an empty first line", "a.csv", "\n" + CSV, ["a, ö", "字"]),
    ("CSV", "first lines of spaces", "a.csv", " \r\n\r\n" + CSV.replace("\n", "\r\n"), ["a, ö", "字"]),
    ("CSV", "lines that end in carriage returns", "a.csv", CSV.replace("\n", "\r"), ["a, ö", "字"]),
    ("CSV", "an empty line between rows", "a.csv", "text,n\na,1\n\nb,2\n", ["a", "b"]),
    ("CSV", "no line end at the end", "a.csv", "text,n\na,1\nb,2", ["a", "b"]),
    ("CSV", "line ends within quotes", "a.csv", 'text,n\n"a\nb",1\n"c\r\nd",2\n', ["a\nb", "c\r\nd"]),
    ("CSV", "columns Text and text", "a.csv", "Text,text,TEXT\na,b,c\n", ["b"]),
    ("CSV", "two further columns of one name", "a.csv", "x,text,x\na,b,c\n", ["b"]),
    ("CSV", "a column without a name", "a.csv", ",text\n0,b\n", ["b"]),
    ("CSV", "a quoted column name with a line end", "a.csv", '"a\n""b",text\n0,b\n', ["b"]),
    ("CSV", "quotes within a value without quotes", "a.csv", 'text,n\na "b" c,1\n', ['a "b" c']),
    ("CSV", "a value of 200,000 characters", "a.csv", f'text,n\n"{"long, " * 40_000}",1\n', ["long, " * 40_000]),
    ("JSON", "an array named .jsonl", "a.jsonl", '[{"text": "a"},\n {"text": "b"}]\n', ["a", "b"]),
    ("JSON", "an array named .ndjson, after spaces", "a.ndjson", ' \n\t[{"text": "a"}]', ["a"]),
    ("JSON", "JSON lines named .json", "a.json", JSONL, ["a, ö", "字"]),
    ("JSON", "one object over many lines", "a.json", '{\n "text":\n  "a"\n}\n', ["a"]),
    ("JSON", "objects over many lines named .jsonl", "a.jsonl", '{"text":\n"a"}\n{"text":\n"b"}', ["a", "b"]),
    ("JSON", "empty lines between objects", "a.jsonl", '\n{"text": "a"}\n\n\n{"text": "b"}\n', ["a", "b"]),
    ("JSON", "columns Text and text", "a.jsonl", '{"Text": "a", "text": "b"}\n', ["b"]),
    ("JSON", "escapes of a pair", "a.jsonl", '{"text": "\\ud83d\\udc4d"}\n', ["👍"]),
]

ITS_BYTES = {"latin": "größe".encode("latin-1"), "utf-16": "what".encode("utf-16-le"), "cut": "größe".encode()[:3]}
# kind, sample, the file's name, its content, and the words of the line
REFUSED: list[tuple[str, str, str, str | bytes, list[str]]] = [
    ("encoding", "Latin-1", "a.txt", ITS_BYTES["latin"], ["not valid UTF-8 at byte 2", "iconv"]),
    ("encoding", "UTF-16 without a mark", "a.txt", ITS_BYTES["utf-16"], ["NUL character at byte 1", "UTF-16", "iconv"]),
    ("encoding", "the same, big-endian", "a.txt", "what".encode("utf-16-be"), ["NUL character at byte 0", "UTF-16"]),
    ("encoding", "UTF-32 with a mark", "a.txt", "what".encode("utf-32"), ["NUL character at byte 2", "UTF-32"]),
    (
        "encoding",
        "a file cut within a character",
        "a.txt",
        ITS_BYTES["cut"],
        ["not valid UTF-8 at byte 2", "unexpected end"],
    ),
    (
        "encoding",
        "UTF-16 cut within a character",
        "a.txt",
        "what".encode("utf-16")[:-1],
        ["not valid UTF-16LE at byte 8"],
    ),
    ("encoding", "half a pair in UTF-16", "a.txt", codecs.BOM_UTF16_LE + b"a\x00\x00\xd8b\x00", ["UTF-16LE at byte 4"]),
    (
        "encoding",
        "a NUL after a mark and many bytes",
        "a.txt",
        codecs.BOM_UTF8 + "ö".encode() * 10**6 + b"\0",
        ["at byte 2000003"],
    ),
    ("encoding", "a wrong byte after many", "a.txt", "ö".encode() * 10**6 + b"\xff", ["UTF-8 at byte 2000000"]),
    ("encoding", "JSON lines in Latin-1", "a.jsonl", JSONL.replace("字", "x").encode("latin-1"), ["UTF-8 at byte 13"]),
    (
        "encoding",
        "gzipped JSON lines in Latin-1",
        "a.jsonl.gz",
        gzip.compress(b'{"text": "\xf6"}'),
        ["UTF-8 at byte 10"],
    ),
    ("encoding", "a CSV in UTF-16 without a mark", "a.csv", CSV.encode("utf-16-le"), ["NUL character at byte 1"]),
    (
        "encoding",
        "an escaped NUL in JSON",
        "a.jsonl",
        '{"text": "a"}\n{"text": "a\\u0000b"}\n',
        ["NUL character in 'a:1'"],
    ),
    (
        "encoding",
        "half a pair of escapes in JSON",
        "a.jsonl",
        '{"text": "a"}\n{"text": "\\ud800"}\n',
        ["line 2: surrogates"],
    ),
    ("encoding", "a .gz that is not gzipped", "a.jsonl.gz", JSONL, ["a.jsonl.gz cannot be read as jsonl", "gzip"]),
    (
        "encoding",
        "a .gz cut short",
        "a.jsonl.gz",
        gzip.compress(JSONL.encode() * 99)[:-12],
        ["cannot be read as jsonl"],
    ),
    (
        "CSV",
        "a row with more columns",
        "a.csv",
        "text,n\na,1\nb,2,3\n",
        ["line 3 has 3 columns where the header has 2", "corpus.csv.delimiter"],
    ),
    ("CSV", "a row with fewer columns", "a.csv", "text,n\na,1\nb\n", ["line 3 has 1 columns where the header has 2"]),
    ("CSV", "the same after a value of several lines", "a.csv", 'text,n\n"a\n\n",1\nb\n', ["line 5 has 1 columns"]),
    ("CSV", "the same after empty first lines", "a.csv", "\n\ntext,n\na,1\nb\n", ["line 5 has 1 columns"]),
    (
        "CSV",
        "line ends of two kinds",
        "a.csv",
        "text,n\r\na,1\nb,2\r\n",
        ["its lines end in different ways ('\\n' and '\\r\\n')", "make them alike"],
    ),
    ("CSV", "a last line end of another kind", "a.csv", "text,n\na,1\nb,2\r\n", ["its lines end in different ways"]),
    ("CSV", "an open quote", "a.csv", 'text,n\na,1\n"b,2\nc,3\n', ["line 3 opens a quote", "corpus.csv.quote"]),
    ("CSV", "text after a closed quote", "a.csv", 'text,n\n"a" b,1\n', ["line 2 opens a quote", "corpus.csv.escape"]),
    (
        "CSV",
        "quotes escaped by a backslash",
        "a.csv",
        'text,n\n"a \\"q\\" b",1\n',
        ["line 2 opens a quote", "corpus.csv.escape"],
    ),
    (
        "CSV",
        "; between columns, commas inside",
        "a.csv",
        'text;n\n"a, b";1\nc;2\n',
        ["no column 'text': it has text;n", "corpus.csv: {delimiter: ';'}"],
    ),
    ("CSV", "tabs between columns", "a.csv", "n\ttext\n1\ta\n", ['corpus.csv: {delimiter: "\\t"}']),
    (
        "CSV",
        "an open quote in the header",
        "a.csv",
        '"text,n\na,1\n',
        ["header, line 1, is broken", "corpus.csv.quote"],
    ),
    ("CSV", "only empty lines", "a.csv", "\n \n", ["it has no header"]),
    ("CSV", "no byte", "a.csv", "", ["it has no header"]),
    ("CSV", "two columns of the name", "a.csv", "text,text\na,b\n", ["2 columns 'text'", "different names"]),
    ("CSV", "a column of another case", "a.csv", "Text,n\na,b\n", ["no column 'text': it has Text, n"]),
    (
        "JSON",
        "a fault in line 3",
        "a.jsonl",
        '{"text": "a"}\n{"text": "b"}\n{"text": c}\n{"text": "d"}\n',
        ["line 3, column 10"],
    ),
    (
        "JSON",
        "a fault in line 3 of an array",
        "a.json",
        '[{"text": "a"},\n{"text": "b"},\n{"text": c}]\n',
        ["line 3, column 10"],
    ),
    (
        "JSON",
        "the same named .jsonl",
        "a.jsonl",
        '[{"text": "a"},\n{"text": "b"},\n{"text": c}]\n',
        ["line 3, column 10"],
    ),
    ("JSON", "an array cut short", "a.json", '[{"text": "a"},\n{"text": "b"}\n', ["line 3, column 1: Expecting"]),
    ("JSON", "a line cut short", "a.jsonl", '{"text": "a"}\n{"text": "b\n{"text": "c"}\n', ["line 2, column"]),
    (
        "JSON",
        "a line end within a string",
        "a.jsonl",
        '{"text": "a"}\n{"text": "b\n"}\n',
        ["line 2, column 12: Invalid control"],
    ),
    ("JSON", "text after an array", "a.json", '[{"text": "a"}]\nand more', ["line 2: text after an array"]),
    (
        "JSON",
        "strings that are no objects",
        "a.json",
        '["a", "b"]',
        ["no column 'text': it has none, since its records are no objects"],
    ),
    (
        "JSON",
        "arrays that are no objects",
        "a.jsonl",
        '["a"]\n["b"]\n',
        ["a.jsonl cannot be read", "line 2: text after an array"],
    ),
    ("JSON", "a single quote", "a.jsonl", "{'text': 'a'}\n", ["line 1, column 2"]),
]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


@pytest.mark.parametrize(("kind", "tried", "name", "content", "expected"), READ, ids=[case[1] for case in READ])
def test_what_is_read(tmp_path, kinds, kind, tried, name, content, expected):
    assert texts(write(tmp_path, name, content)) == expected
    kinds.saw(kind, tried, "read")


@pytest.mark.parametrize(("kind", "tried", "name", "content", "words"), REFUSED, ids=[case[1] for case in REFUSED])
def test_what_is_refused(tmp_path, kinds, kind, tried, name, content, words):
    fault = complaint(write(tmp_path, name, content))
    assert str(tmp_path / name) in fault and all(word in fault for word in words), fault
    assert "copy" not in fault
    kinds.saw_line(kind, tried, tmp_path, fault)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
@pytest.mark.parametrize("name", ["utf-8", "utf-8-sig", "utf-16"])
def test_pieces_may_end_anywhere(tmp_path, monkeypatch, chunk, name):
    monkeypatch.setattr(encoding, "CHUNK", chunk)
    file = write(tmp_path, "a.txt", WHAT.encode(name))
    assert "".join(encoding.decode(file)) == WHAT
    assert texts(write(tmp_path, "b.csv", CSV.replace("\n", "\r\n").encode(name))) == ["a, ö", "字"]
    with pytest.raises(UserError, match="at byte 4"):
        list(encoding.decode(write(tmp_path, "a.txt", "größe".encode()[:4] + b"\xff what")))


@pytest.mark.parametrize("content", [b"a\xff", b"a\0b"])
def test_a_parquet_file_with_what_is_no_text(tmp_path, content):
    column = pa.Array.from_buffers(pa.string(), 1, pa.array([content]).buffers())
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    assert ("NUL character in 'a:0'" if b"\0" in content else "is not valid UTF-8") in complaint(tmp_path / "a.parquet")


def test_parquet_columns_that_differ_in_case(tmp_path):
    table = pa.table([["a"], ["b"], ["c"], ["d"]], names=["TEXT", "Text", "text", "Title"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet") == ["c"]
    found = read_documents([tmp_path / "a.parquet"], "auto", "Text", "TEXT").documents
    assert (found["text"].to_pylist(), found["title"].to_pylist()) == (["b"], ["a"])
    assert "no column 'title'" in str(
        refused(lambda: read_documents([tmp_path / "a.parquet"], "auto", "text", "title"))
    )
    pq.write_table(pa.table([["a"], ["b"]], names=["text", "text"]), tmp_path / "b.parquet")
    assert "2 columns 'text'" in complaint(tmp_path / "b.parquet")


def refused(function: Callable) -> UserError:
    with pytest.raises(UserError) as caught:
        function()
    return caught.value


# corpus.csv


@pytest.mark.parametrize(
    ("options", "content", "expected"),
    [
        ({"delimiter": ";"}, 'text;n\n"a, b; c";1\nd, e;2\n', ["a, b; c", "d, e"]),
        ({"delimiter": "\t"}, 'n\ttext\n1\ta "b", c\n', ['a "b", c']),
        ({"quote": ""}, 'text,n\n"a" b,1\n"c,2\n', ['"a" b', '"c']),
        ({"quote": "'"}, "text,n\n'a, ''b''',1\n\"c,2\n", ["a, 'b'", '"c']),
        ({"escape": "\\"}, 'text,n\n"a, \\"b\\"",1\n', ['a, "b"']),
        ({"skip": 2}, "A table, that begins\nafter a title\n\ntext,n\na,1\n", ["a"]),
        ({}, "text,n\na,1\n", ["a"]),
    ],
)
def test_how_a_csv_is_written_can_be_said(tmp_path, options, content, expected):
    assert texts(write(tmp_path, "a.csv", content), csv=options) == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delim": ";"}, "corpus.csv.delim is unknown: it is delimiter, quote, escape, skip"),
        ({"delimiter": ""}, "corpus.csv.delimiter is none of its own"),
        ({"delimiter": "::"}, "corpus.csv.delimiter '::' is not one character"),
        ({"quote": "\n"}, "corpus.csv.quote '\\n' is not one character"),
        ({"escape": 3}, "corpus.csv.escape 3 is not one character"),
        ({"skip": "2"}, "corpus.csv.skip '2' is not a number of lines"),
        ({"skip": True}, "corpus.csv.skip True is not a number of lines"),
        ({"skip": -1}, "corpus.csv.skip -1 is not a number of lines"),
        ({"delimiter": '"'}, "corpus.csv.delimiter is none of its own"),
        ({"escape": ","}, "corpus.csv.delimiter is none of its own"),
    ],
)
def test_a_dialect_that_is_none_is_named(options, words):
    assert words in str(refused(lambda: dialect(options)))


def test_an_escape_that_is_not_given_is_the_quote():
    assert dialect({"quote": "'"}) == Dialect(",", "'", "'", 0)
    assert dialect({"quote": ""}) == Dialect(",", "", "", 0)
    assert dialect({}) == Dialect()


# What the log says


def test_empty_and_repeated_texts_are_counted(tmp_path):
    records = [{"text": text} for text in ("a", "", None, ["b", "", None, "a"], "a", "b", " ")]
    write(tmp_path, "a.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    write(tmp_path, "b.txt", "")
    write(tmp_path, "c.txt", "b")
    corpus = read_documents([tmp_path / name for name in ("a.jsonl", "b.txt", "c.txt")], "auto", "text", None)
    assert corpus.documents["text"].to_pylist() == ["a", "b", "a", "a", "b", " ", "b"]
    assert (corpus.empty, corpus.repeated) == (5, 4)
