"""Files are written whole or not at all, carry their metadata, and say what is wrong with them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from triaxis.base import files, parquet
from triaxis.base.errors import UserError

SCHEMA = pa.schema([("sequence", pa.int32()), ("value", pa.float64())])
TABLE = pa.table([[1, 2, 3], [0.5, -1.0, float("nan")]], schema=SCHEMA)


def message(function, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)
    return str(caught.value)


@pytest.fixture
def path(tmp_path):
    parquet.write_parquet(tmp_path / "table.parquet", TABLE, SCHEMA, {"model": "tiny", "revision": "é"})
    return tmp_path / "table.parquet"


# Whole or not at all


def test_a_file_appears_when_it_is_whole_in_folders_made_for_it(tmp_path):
    path = tmp_path / "some" / "folder" / "file.txt"
    with files.whole(path) as part:
        assert part.parent == path.parent and part.name.startswith(".") and part.suffix == ".part"
        part.write_text("content")
        assert not path.exists()
    assert path.read_text() == "content"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("wrote", [True, False])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error, wrote):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(part: Path) -> None:
        if wrote:
            part.write_text("half of the n")
        raise error

    with pytest.raises(error), files.whole(path) as part:
        fail(part)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_leaves_never_becomes_the_file(tmp_path):
    program = """
import os, sys
from triaxis.base import files
with files.whole(sys.argv[1]) as part:
    part.write_text("half")
    os._exit(os.EX_OK)
"""
    path = tmp_path / "file.txt"
    scripts = str(Path(files.__file__).parents[2])
    subprocess.run([sys.executable, "-c", program, path], env=os.environ | {"PYTHONPATH": scripts}, check=True)
    (orphan,) = tmp_path.iterdir()
    assert orphan != path
    with files.whole(path) as part:
        assert part != orphan
        part.write_text("all")
    assert path.read_text() == "all"
    assert not orphan.exists()


def test_a_body_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), files.whole(tmp_path / "file.txt"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_stream_that_fails_leaves_the_old_table(path):
    def stream():
        yield TABLE
        raise RuntimeError

    before = path.read_bytes()
    with pytest.raises(RuntimeError):
        parquet.write_parquet(path, stream(), SCHEMA, {})
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_json_is_sorted_whole_and_ends_its_line(tmp_path):
    path = tmp_path / "record.json"
    files.write_json(path, {"b": [1], "a": None})
    assert path.read_text() == '{\n  "a": null,\n  "b": [\n    1\n  ]\n}\n'
    with pytest.raises(TypeError):
        files.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"b": [1], "a": None} and list(tmp_path.iterdir()) == [path]


# Parquet


def test_a_table_comes_back_with_its_schema(path):
    found = parquet.read_parquet(path)
    assert found.schema.remove_metadata() == SCHEMA
    np.testing.assert_array_equal(found["value"], TABLE["value"])
    assert parquet.read_parquet(path, ["value"]).column_names == ["value"]
    with parquet.open_parquet(path) as file:
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_metadata_come_back_without_arrows_own(path):
    assert parquet.read_metadata(path) == {"model": "tiny", "revision": "é"}
    parquet.write_parquet(path, TABLE, SCHEMA, {})
    assert parquet.read_metadata(path) == {}


def test_a_stream_of_tables_is_cast_to_the_schema_a_row_group_each(tmp_path):
    path = tmp_path / "table.parquet"
    narrow = pa.table({"sequence": pa.array([1, 2], pa.int64()), "value": pa.array([1.0, 2.0], pa.float32())})
    parquet.write_parquet(path, iter([narrow, narrow.slice(0, 1)]), SCHEMA, {})
    with pq.ParquetFile(path) as file:
        assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [2, 1]
        assert file.schema_arrow.remove_metadata() == SCHEMA


def test_options_reach_the_writer(tmp_path):
    path = tmp_path / "table.parquet"
    with parquet.parquet_writer(path, SCHEMA, {}, compression="NONE") as writer:
        writer.write_table(TABLE)
    assert pq.read_metadata(path).row_group(0).column(0).compression == "UNCOMPRESSED"


def test_the_same_table_has_the_same_bytes(tmp_path, path):
    parquet.write_parquet(tmp_path / "again.parquet", TABLE, SCHEMA, {"model": "tiny", "revision": "é"})
    assert (tmp_path / "again.parquet").read_bytes() == path.read_bytes()


READERS = [parquet.open_parquet, parquet.read_parquet, parquet.read_metadata]


@pytest.mark.parametrize("reader", READERS)
def test_a_missing_file_is_named_with_its_remedy(tmp_path, reader):
    said = message(reader, tmp_path / "no.parquet")
    assert str(tmp_path / "no.parquet") in said and "is missing: rerun the rule that makes it" in said


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", [b"", b"PAR1", b"not Parquet at all, but long enough to be looked at", None])
def test_a_truncated_file_or_another_format_is_named_with_its_remedy(path, reader, content):
    path.write_bytes(path.read_bytes()[:-10] if content is None else content)
    said = message(reader, path)
    assert str(path) in said and "is not a whole Parquet file" in said and "delete it and rerun" in said


def test_a_damaged_page_is_named_with_its_remedy(path):
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)
    said = message(parquet.read_parquet, path)
    assert str(path) in said and "is damaged" in said and "delete it and rerun" in said


# Series and steps


@pytest.mark.parametrize(
    ("model", "series", "step"), [("a", None, None), ("a.step512", "a", 512), ("b.seed1.step0", "b.seed1", 0)]
)
def test_each_row_of_a_models_file_says_of_which_series_and_step_it_is(tmp_path, model, series, step):
    path = tmp_path / f"results/fits/model={model}/shard-0000.parquet"
    parquet.write_parquet(path, TABLE, SCHEMA, {"model": "tiny"})
    read = parquet.read_parquet(path)
    assert read.column_names == ["sequence", "value", "series", "step"]
    assert read.select(SCHEMA.names).schema.equals(SCHEMA)
    assert read["series"].to_pylist() == [series] * 3 and read["step"].to_pylist() == [step] * 3
    assert parquet.read_metadata(path) == {"model": "tiny"}


def test_a_file_of_no_model_has_its_own_columns_alone(path):
    assert parquet.read_parquet(path).column_names == SCHEMA.names


@pytest.mark.parametrize("model", ["a", "a.step512"])
def test_series_and_step_take_next_to_no_room(tmp_path, model):
    values = np.random.default_rng(0).normal(size=10**6)
    table = pa.table([np.arange(10**6, dtype=np.int32), values], schema=SCHEMA)
    # Some writers name the columns that are worth a dictionary, or statistics.
    options = {"use_dictionary": ["sequence"], "write_statistics": ["sequence"]}
    for folder in ("", f"model={model}/"):
        with parquet.parquet_writer(tmp_path / f"{folder}a.parquet", SCHEMA, {}, **options) as out:
            out.write_table(table)
    added = (tmp_path / f"model={model}/a.parquet").stat().st_size - (tmp_path / "a.parquet").stat().st_size
    assert added < 0.01 * 10**6
