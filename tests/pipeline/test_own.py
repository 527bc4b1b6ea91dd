"""`make run` with a model and texts of one's own, as a user types it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.conftest import PROJECT, Workspace


@pytest.fixture
def home(workspace: Workspace) -> Workspace:
    """A workspace in which `make` finds all installed."""
    shutil.copy(PROJECT / "Makefile", workspace.folder)
    shutil.copy(PROJECT / "requirements.lock", workspace.folder)
    (workspace.folder / ".venv").mkdir()
    (workspace.folder / ".venv/.locked").touch()
    return workspace


def make(workspace: Workspace, *words: str, **more: str) -> subprocess.CompletedProcess:
    own = {key: value for key, value in workspace.environment.items() if key != "MAKEFLAGS"}
    return subprocess.run(
        ["make", f"BIN={Path(sys.executable).parent}", "CORES=2", *words],
        cwd=workspace.folder,
        env=own | more,
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_command_runs_a_model_and_texts_of_ones_own(home):
    words = ["MODEL=path:tiny-model", "TEXT=path:tiny-corpus/*.txt", "COUNT=3", "LENGTH=24"]
    done = make(home, "run", *words, "ALSO=--config experiments=[]")
    assert done.returncode == 0, done.stderr
    own = home.folder / "runs/tiny-model"
    for name in ("report.html", "paper.pdf", "manifest.json", "triaxis.duckdb"):
        assert (own / "results" / name).is_file() and f"runs/tiny-model/results/{name}" in done.stdout, name
    assert "3 sequences of 24 tokens" in done.stdout and "tiny-model-random" in done.stdout
    assert not (home.folder / "results").exists()


def test_a_fault_is_one_line_that_names_it_and_nothing_is_written(home):
    done = make(home, "run", "MODEL=path:tiny-model", "TEXT=path:texts/*.txt")
    assert done.returncode != 0 and not (home.folder / "runs").exists()
    assert done.stderr.splitlines()[0].startswith("ERROR: TEXT: corpus path:texts/*.txt matches no file")
    both = make(home, "run", "MODEL=path:tiny-model", "CONFIG=config/tiny.yaml")
    assert both.returncode != 0 and len(both.stderr.splitlines()) == 1
    assert "CONFIG=config/tiny.yaml or MODEL, not both" in both.stderr


def test_a_model_of_the_environment_is_somebody_elses(home):
    plan = make(home, "--dry-run", "run", MODEL="gpt", TEXT="hello")
    assert plan.returncode == 0 and "write_own" not in plan.stdout and "--configfile config.yaml" in plan.stdout


def test_another_experiment_of_ones_own_is_one_more_word(home):
    plan = make(home, "--dry-run", "surgery", "MODEL=path:tiny-model")
    assert plan.returncode == 0, plan.stderr
    assert "write_own.py MODEL" in plan.stdout and "also=surgery" in plan.stdout


def test_a_paper_and_an_estimate_are_of_that_run_too(home):
    own = ["MODEL=path:tiny-model", "TEXT=path:tiny-corpus/*.txt", "COUNT=3", "LENGTH=24"]
    paper = make(home, "--dry-run", "paper", *own)
    assert paper.returncode == 0, paper.stderr
    assert "write_own.py MODEL TEXT COUNT LENGTH" in paper.stdout and "-- results/paper.pdf" in paper.stdout
    assert "--configfile config.yaml" not in paper.stdout
    shutil.copytree(PROJECT / "benchmarks", home.folder / "benchmarks")
    done = make(home, "estimate", *own)
    assert done.returncode == 0, done.stderr
    (line,) = [line.split() for line in done.stdout.splitlines() if line.startswith("sample_sequences")]
    assert line[1:3] == ["2", "6"]
    assert not (home.folder / "results").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["long", "MODEL=path:tiny-model"], "make long takes no MODEL:"),
        (["training", "CONFIG=config/tiny.yaml"], "make training takes no CONFIG:"),
        (["notebook", "TEXT=path:tiny-corpus/*.txt"], "make notebook takes no TEXT:"),
    ],
)
def test_a_target_that_has_its_own_configuration_says_so(home, words, said):
    done = make(home, *words)
    assert done.returncode != 0 and len(done.stderr.splitlines()) == 1 and said in done.stderr


def test_another_experiment_of_ones_own_configuration_is_that_word_alone(home):
    plan = make(home, "--dry-run", "surgery", "CONFIG=config/tiny.yaml")
    assert plan.returncode == 0, plan.stderr
    assert "--configfile config/tiny.yaml --config also=surgery" in plan.stdout
    none = make(home, "surgery", "CONFIG=gone.yaml")
    assert none.returncode != 0 and "gone.yaml" in none.stderr.splitlines()[0]
