"""notebooks/quickstart.py, run whole on a finished run: each of its questions has an answer and a figure."""

import json
import subprocess
import sys

import pytest

from pipeline.conftest import PROJECT

PROGRAM = """
import json, sys
sys.argv = ["quickstart.py", "--database", sys.argv[1]]
from quickstart import app
outputs, names = app.run()
answers = {name: own.values for name, own in names.items() if hasattr(own, "values") and isinstance(own.values, list)}
figures = sum("vega" in getattr(output, "text", "") for output in outputs)
print(json.dumps({"answers": answers, "figures": figures}))
"""


def test_the_notebook_answers_five_questions(finished):
    pytest.importorskip("marimo", reason="make test installs notebooks/requirements.lock")
    command = [sys.executable, "-c", PROGRAM, finished.folder / "results/triaxis.duckdb"]
    done = subprocess.run(command, cwd=PROJECT / "notebooks", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    assert made["figures"] == 5
    counted = {name: len(rows) for name, rows in made["answers"].items()}
    # Two models of two layers with four heads; seven combinations of axes; sequences of 32 tokens.
    assert counted == {"fitted": 16, "axes": 14, "shares": 9, "least": 8, "distances": 128}
    assert all(value is not None for rows in made["answers"].values() for row in rows for value in row.values())
