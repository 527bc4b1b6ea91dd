"""A copy of the project in a folder of its own, and a real Snakemake to run it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from outcomes import Outcomes
from pipeline import tiny

PROJECT = Path(__file__).resolve().parents[2]
PARTS = ["Snakefile", "rules", "scripts", "schemas", "envs", "profiles", "report", "paper", "config", "config.yaml"]


@dataclass
class Run:
    """What a Snakemake run said: its exit status, its output, and the rules that it ran or would run."""

    status: int
    output: str

    @property
    def rules(self) -> dict[str, int]:
        """rule -> jobs, from the table of jobs that Snakemake prints."""
        jobs: dict[str, int] = {}
        for line in self.output.partition("Job stats:")[2].splitlines():
            fields = line.split()
            if len(fields) == 2 and fields[1].isdigit():
                jobs[fields[0]] = int(fields[1])
            if fields[:1] == ["total"]:
                break
        jobs.pop("total", None)
        jobs.pop("all", None)
        return jobs

    @property
    def nothing(self) -> bool:
        return "Nothing to be done" in self.output


class Workspace:
    """A copy of the project, made where there is none, whose files a test may change, with a tiny model and corpus
    beside them."""

    def __init__(self, folder: Path, configfile: str = "config/tiny.yaml") -> None:
        self.folder = folder
        self.configfile = configfile
        self.environment = os.environ | {
            "XDG_CACHE_HOME": str(folder / ".cache"),
            "MPLCONFIGDIR": str(folder / ".cache" / "matplotlib"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HF_HUB_OFFLINE": "1",
        }
        for part in PARTS if not (folder / "Snakefile").exists() else []:
            source = PROJECT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / part)

    def command(self, *arguments: str) -> list[str]:
        return [
            *(sys.executable, "-m", "snakemake", "--configfile", self.configfile, "--cores", "2"),
            *arguments,
        ]

    def run(self, *arguments: str) -> Run:
        result = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return Run(result.returncode, result.stdout)

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start a run in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def last_log(self) -> str:
        """Snakemake's own log of the run that started last."""
        return max((self.folder / ".snakemake" / "log").iterdir()).read_text()

    def dry(self, *arguments: str) -> Run:
        return self.run("--dry-run", *arguments)

    def digests(self) -> dict[str, str]:
        """artefact -> sha256, as the manifest states them."""
        manifest = json.loads((self.folder / "results" / "manifest.json").read_text())
        return {path: entry["sha256"] for path, entry in manifest["artefacts"].items()}

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text that the file must hold."""
        path = self.folder / file
        content = path.read_text()
        assert old in content, f"{old!r} is not in {file}"
        path.write_text(content.replace(old, new))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A fresh workspace: nothing has run in it."""
    tiny.make_model(tmp_path / "tiny-model")
    tiny.make_corpus(tmp_path / "tiny-corpus")
    return Workspace(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which the tiny configuration has run to its end; tests only read it or copy it.

    One for all of xdist's workers, whose folders lie side by side: the first to come makes it.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "finished"
    with FileLock(f"{folder}.lock"):
        if (folder / "results/manifest.json").exists():
            return Workspace(folder)
        folder.mkdir()
        tiny.make_model(folder / "tiny-model")
        tiny.make_corpus(folder / "tiny-corpus")
        workspace = Workspace(folder)
        run = workspace.run()
        assert run.status == 0, run.output
        return workspace


@pytest.fixture
def copy_of_finished(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the finished workspace, time stamps included, that a test may change."""
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True, symlinks=True)
    return Workspace(tmp_path)


@pytest.fixture(scope="session")
def outcomes() -> Iterator[Outcomes]:
    """Holds docs/reliability.md to what a test saw, or, in `make reliability`, writes it there."""
    collected = Outcomes(write="WRITE_RELIABILITY" in os.environ)
    yield collected
    if collected.write:
        collected.save()
