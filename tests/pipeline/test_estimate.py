"""`make estimate`: jobs as a dry run counts them, rows as a finished run has them, bytes nearly so."""

import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from pipeline.conftest import PROJECT
from triaxis.report import estimate


def run_estimate(folder, config: str) -> subprocess.CompletedProcess:
    command = [sys.executable, PROJECT / "scripts/estimate.py", config]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_an_estimate_is_what_a_run_has(finished):
    done = run_estimate(finished.folder, "config/tiny.yaml")
    assert done.returncode == 0, done.stderr
    # The run is a tiny one, whose jobs are mostly their start: those by the job have the rates of this run.
    assert done.stdout.splitlines()[-1].endswith("at the rates of the run that is finished here.")
    lines = {line[:24].strip(): line[24:].replace(",", "").split() for line in done.stdout.splitlines()[1:-1]}
    jobs = finished.dry("--forceall").rules
    assert int(lines["together"][0]) == sum(jobs.values())
    for rule, own in lines.items():
        assert rule in ("together", "all others") or int(own[0]) == jobs[rule]

    made: dict[str, list[str]] = {}
    for stage, rule in estimate.WRITERS.items():
        made.setdefault(rule, []).append(stage)
    for rule, stages in made.items():
        files = [file for stage in stages for file in (finished.folder / "results" / stage).rglob("*.parquet")]
        assert int(lines[rule][1]) == sum(pq.read_metadata(file).num_rows for file in files), rule
    taken = sum(
        file.stat().st_size
        for stage in estimate.WRITERS
        for file in (finished.folder / "results" / stage).rglob("*.parquet")
    )
    assert float(lines["together"][2]) == pytest.approx(taken / 1e6, rel=0.3)


def test_a_fault_is_one_line(finished):
    done = run_estimate(finished.folder, "nothere.yaml")
    assert done.returncode != 0 and len(done.stderr.splitlines()) == 1 and "CONFIG=nothere.yaml" in done.stderr
