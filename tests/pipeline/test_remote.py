"""The pipeline as a module from a remote source, of which Snakemake fetches rules and scripts but not the library."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.conftest import PARTS, Workspace

OUTER = """
configfile: "outer.yaml"


module triaxis:
    snakefile:
        {source}
    config:
        config["triaxis"]
    prefix:
        "measured"


use rule * from triaxis as triaxis_*
"""
FITS = "results/fits/model=tiny/shard-0000.parquet"
# What our own profiles say. Snakemake 9.27 cannot compare the code of a git+file source's scripts.
TRIGGERS = ("--rerun-triggers", "mtime", "params", "input", "software-env")


@pytest.fixture
def outer(workspace: Workspace) -> Workspace:
    """A workflow that uses a repository of the project as a module; `folder/repository`, whose library is nowhere."""
    folder, repository = workspace.folder, workspace.folder / "repository"
    repository.mkdir()
    for part in PARTS:
        (folder / part).rename(repository / part)
    git = ["git", "-C", str(repository), "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    settings = (repository / "config/tiny.yaml").read_text().replace("\n", "\n  ")
    (folder / "outer.yaml").write_text(f"triaxis:\n  {settings}\n")
    workspace.configfile = "outer.yaml"
    workspace.environment.pop("PYTHONPATH", None)
    workspace.environment.pop("GITHUB_TOKEN", None)
    use(workspace, f'"git+file://{repository}/Snakefile@v1"')
    return workspace


def use(outer: Workspace, source: str) -> None:
    (outer.folder / "Snakefile").write_text(OUTER.format(source=source))


def install(outer: Workspace) -> Path:
    """The library where Python finds it, as pip would put it, without the project beside it."""
    site = outer.folder / "library" / "site"
    shutil.copytree(outer.folder / "repository/scripts/triaxis", site / "triaxis")
    outer.environment["PYTHONPATH"] = str(site)
    return site


def only_line(output: str) -> str:
    (line,) = [line for line in output.splitlines() if line.startswith("ERROR: ")]
    assert "Traceback" not in output and "Error in" not in output
    return line


def test_without_the_library_one_line_says_what_to_install(outer):
    run = outer.dry(f"measured/{FITS}", *TRIGGERS)
    assert run.status != 0
    assert "from a remote source" in only_line(run.output) and "pip install" in run.output


def test_a_library_of_another_version_is_refused(outer):
    version = install(outer) / "triaxis/base/version.py"
    version.write_text('VERSION = "0.0.1"\n')
    run = outer.dry(f"measured/{FITS}", *TRIGGERS)
    assert run.status != 0 and "that is installed is 0.0.1, and this workflow is not" in only_line(run.output)


def test_with_the_library_a_git_repository_makes_what_a_clone_makes(outer, finished):
    install(outer)
    run = outer.run(f"measured/{FITS}", *TRIGGERS)
    assert run.status == 0, run.output
    # To the byte, the digests of code and configuration in its metadata included.
    assert (outer.folder / "measured" / FITS).read_bytes() == (finished.folder / FITS).read_bytes()
    assert outer.dry(f"measured/{FITS}", *TRIGGERS).nothing
    assert not list((outer.folder / "library").rglob(".cache"))


def test_with_the_library_a_hosted_repository_is_planned(outer):
    """github(...), whose clone git is told to take from here."""
    use(outer, 'github("someone/triaxis", path="Snakefile", tag="v1")')
    outer.environment |= {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{outer.folder}/repository.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/someone/triaxis",
    }
    assert "pip install" in only_line(outer.dry(f"measured/{FITS}").output)
    install(outer)
    run = outer.dry(f"measured/{FITS}")
    assert run.status == 0, run.output
    assert run.rules["triaxis_fit_axes"] == 1
