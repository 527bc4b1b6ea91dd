"""Every rule is killed once, in three ways, at seeded moments: what a rerun costs, and what it gives."""

import csv
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter

import psutil
import pytest

from pipeline import tiny
from pipeline.conftest import Workspace

# One script draws all figures: the rule of one of them stands for the rest.
DRAWN = "plot_heads"
# A rule that runs another's script cannot be told from it: that one stands for both.
TWINS = {"extract_prompts"}
# What dies: the machine (Snakemake and all its jobs), Snakemake alone (its jobs go on), or one job alone.
WAYS = ["machine", "scheduler", "job"]


def running(process: subprocess.Popen) -> dict[str, psutil.Process]:
    """rule -> the process of one of its jobs, for a Snakemake that goes on."""
    jobs = {}
    try:
        for child in psutil.Process(process.pid).children():
            if found := re.search(r"\.snakemake/scripts/tmp\w+\.(\w+)\.py", " ".join(child.cmdline())):
                jobs[DRAWN if found[1] == "plot_figure" else found[1]] = child
    except psutil.NoSuchProcess:
        pass
    return jobs


def seconds(workspace: Workspace, rule: str) -> float:
    """How long the shortest job of a rule took, as its benchmark says."""
    files = [*workspace.folder.glob(f"logs/{rule}.tsv"), *workspace.folder.glob(f"logs/{rule}/*.tsv")]
    return min(float(next(csv.DictReader(file.open(), delimiter="\t"))["s"]) for file in files)


def finished_jobs(log: str) -> list[str]:
    """The messages of the jobs that Snakemake's log calls finished; each names its rule's work and its shard."""
    messages = dict(re.findall(r"^Job (\d+): (.*)$", log, re.MULTILINE))
    return [
        messages[number] for number in re.findall(r"^Finished jobid: (\d+) ", log, re.MULTILINE) if number in messages
    ]


class Killer:
    """Runs a workspace again and again, and kills each run while a job of a rule not yet killed goes on."""

    def __init__(self, workspace: Workspace, lengths: dict[str, float], seed: int) -> None:
        """lengths: rule -> seconds of a job of it."""
        self.workspace, self.lengths, self.random = workspace, lengths, random.Random(seed)
        self.kills: dict[str, str] = {}
        self.finished: list[str] = []
        self.sessions: list[int] = []
        self.counting = True

    def left(self) -> list[str]:
        """The rules not yet killed."""
        return sorted(set(self.lengths) - set(self.kills))

    def run(self, *forced: str) -> bool:
        """One run: True if it was killed, False if it came to its end. Jobs that are made anew at our wish alone
        (`forced`), or after them, are not counted as finished."""
        way = WAYS[len(self.kills) % len(WAYS)]
        self.counting = self.counting and not forced
        process = self.workspace.start(*(("--forcerun", *forced, "--until", *forced) if forced else ()))
        self.sessions.append(process.pid)
        while process.poll() is None:
            for rule in sorted(running(process)):
                if rule not in self.kills and self._kill(process, rule, way):
                    self._close(process)
                    return True
            time.sleep(0.01)
        self._close(process)
        assert process.returncode == 0, self.workspace.last_log()[-3000:]
        return False

    def _kill(self, process: subprocess.Popen, rule: str, way: str) -> bool:
        """Kill `way` after a random share of the rule's length; False if its job had ended by then."""
        job = running(process).get(rule)
        time.sleep(self.random.uniform(0, 0.5) * self.lengths[rule])
        if job is None or not job.is_running() or job.status() == psutil.STATUS_ZOMBIE:
            self.lengths[rule] /= 3  # the machine is less busy than it was
            return False
        if way == "machine":
            os.killpg(process.pid, signal.SIGKILL)
        elif way == "scheduler":
            process.kill()
        else:
            job.kill()
        self.kills[rule] = way
        return True

    def _close(self, process: subprocess.Popen) -> None:
        """Wait for the end, keep what the log says, and unlock what was killed."""
        process.wait()
        self.finished += finished_jobs(self.workspace.last_log()) if self.counting else []
        if any((self.workspace.folder / ".snakemake" / "locks").glob("*")):
            assert self.workspace.run("--unlock").status == 0
        for path in self.workspace.folder.glob("results/**/*.parquet"):
            # Whatever has its final name is whole: the magic number closes a Parquet file.
            assert path.read_bytes()[-4:] == b"PAR1", path

    def stop_orphans(self) -> None:
        """End what killed schedulers left running; each run is a process group of its own."""
        for session in self.sessions:
            try:
                os.killpg(session, signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.fixture(scope="module")
def killer(finished: Workspace, tmp_path_factory: pytest.TempPathFactory):
    """A workspace that came to its end although every rule was killed once."""
    folder = tmp_path_factory.mktemp("killed")
    tiny.make_model(folder / "tiny-model")
    tiny.make_corpus(folder / "tiny-corpus")
    workspace = Workspace(folder)
    planned = set(finished.dry("--forceall").rules) - TWINS
    rules = sorted(rule for rule in planned if not rule.startswith("plot_") or rule == DRAWN)
    killer = Killer(workspace, {rule: seconds(finished, rule) for rule in rules}, seed=0)
    try:
        while killer.run():
            pass
        # The only job of a short rule may have ended before its moment came: it is made again, and killed then.
        for _ in range(100):
            if killer.left():
                killer.run(killer.left()[0])
        while killer.run():
            pass
        yield killer
    finally:
        killer.stop_orphans()


def test_every_rule_is_killed_and_the_digests_are_those_of_an_unperturbed_run(killer, finished, outcomes):
    """In another folder: this also shows that two runs give the same bytes."""
    assert set(killer.kills) == set(killer.lengths)
    assert len(killer.kills) >= 20
    assert set(killer.kills.values()) == set(WAYS)
    assert killer.workspace.digests() == finished.digests()
    outcomes.record(
        "every rule is interrupted once by SIGKILL: of the machine's every process, of Snakemake alone, or of one job",
        "equal digests after `--unlock` and a rerun, also beside jobs that outlived their Snakemake",
    )


def test_no_finished_job_is_computed_twice(killer, outcomes):
    assert len(killer.finished) >= 20
    twice = {job for job, count in Counter(killer.finished).items() if count > 1}
    assert not twice
    outcomes.record("the jobs that the logs of those runs call finished", "none is computed a second time")


def test_nothing_half_written_is_left(killer):
    assert not list(killer.workspace.folder.rglob("*.part"))
    assert killer.workspace.dry().nothing
