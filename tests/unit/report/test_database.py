"""The database's faults; what it shows is tested on real runs (tests/pipeline)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from triaxis.report.database import build_database

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
LIMITED = """
import resource, signal
from pathlib import Path
from triaxis.base import files
from triaxis.report.database import build_database
from triaxis.base.errors import UserError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    with files.whole("triaxis.duckdb") as part:
        build_database(part, Path(), {}, {}, {})
except UserError as error:
    print(error)
"""


def test_a_file_that_cannot_grow_is_one_line_and_leaves_nothing(tmp_path):
    """As on a full disk, whose number is another."""
    run = subprocess.run(
        [sys.executable, "-c", LIMITED],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.startswith("triaxis.duckdb cannot be written: File too large; raise this machine's limit"), run
    assert not list(tmp_path.iterdir())


def test_a_reader_may_have_duckdb_1_1(tmp_path):
    """A file begins with a checksum, "DUCK" and the number of its storage: 64 until DuckDB 1.1."""
    (tmp_path / "axes.csv").write_text("model,series,step,r\n7,,,0.5\n")
    build_database(tmp_path / "triaxis.duckdb", tmp_path, {}, {}, {"axes": str(tmp_path / "axes.csv")})
    head = (tmp_path / "triaxis.duckdb").read_bytes()[:20]
    assert head[8:12] == b"DUCK" and int.from_bytes(head[12:20], "little") == 64


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder whose name is a pattern, with a small stage, a large one, and a database of both."""
    folder = tmp_path / "it's [v1]"
    for stage in ("small", "large"):
        file = folder / f"results/{stage}/model=m/shard-0000.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(pa.table({"value": [1, 2]}), file)
    monkeypatch.chdir(folder)
    small = {"small": ["results/small/model=m/shard-0000.parquet"]}
    build_database(folder / "triaxis.duckdb", folder, small, {"large": "results/large/**/*.parquet"}, {})
    monkeypatch.chdir(tmp_path)
    return folder


def test_it_is_read_from_any_folder(project):
    with duckdb.connect(project / "triaxis.duckdb", read_only=True) as connection:
        for stage in ("small", "large"):
            assert connection.sql(f"SELECT model, sum(value) FROM {stage} GROUP BY ALL").fetchall() == [("m", 3)]


def test_after_a_move_small_stages_are_there_and_a_large_one_names_its_files(project, tmp_path):
    moved = tmp_path / "moved"
    shutil.move(project, moved)
    with duckdb.connect(moved / "triaxis.duckdb", read_only=True) as connection:
        assert connection.sql("SELECT sum(value) FROM small").fetchall() == [(3,)]
        with pytest.raises(duckdb.IOException, match=r"No files found that match the pattern .*/results/large/"):
            connection.sql("FROM large")
        connection.execute(f"SET VARIABLE run = '{moved}'")
        assert connection.sql("SELECT sum(value) FROM large").fetchall() == [(3,)]
