"""One real SLURM for all tests of this folder, and what a run through it is called with."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.slurm import Cluster, missing
from pipeline.conftest import Workspace, outcomes, workspace

__all__ = ["outcomes", "workspace"]  # fixtures


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    if reason := missing():
        pytest.skip(reason)
    # Not pytest's own folder: a socket's path has room for 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="triaxis-slurm-"))
    try:
        with Cluster(folder) as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class SlurmWorkspace(Workspace):
    """A workspace whose runs go through the profile that users are given."""

    def command(self, *arguments: str) -> list[str]:
        return [
            *(sys.executable, "-m", "snakemake", "--configfile", self.configfile),
            # No accounting here, so no sacct; and jobs of seconds, where a real cluster has jobs of minutes: a check
            # that comes too early puts off the next by ten seconds more.
            *("--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue"),
            *("--slurm-init-seconds-before-status-checks", "8", "--latency-wait", "10"),
            *arguments,
        ]


@pytest.fixture
def slurm_workspace(slurm: Cluster, workspace: Workspace) -> SlurmWorkspace:
    """A fresh workspace: nothing has run in it."""
    copy = SlurmWorkspace(workspace.folder)
    copy.environment |= slurm.environment
    return copy
