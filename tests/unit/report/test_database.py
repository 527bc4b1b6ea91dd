"""The database's faults; what it shows is tested on real runs (tests/pipeline)."""

import os
import subprocess
import sys
from pathlib import Path

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
        build_database(part, {}, {})
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
    build_database(tmp_path / "triaxis.duckdb", {}, {"axes": str(tmp_path / "axes.csv")})
    head = (tmp_path / "triaxis.duckdb").read_bytes()[:20]
    assert head[8:12] == b"DUCK" and int.from_bytes(head[12:20], "little") == 64
