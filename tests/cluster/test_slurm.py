"""The tiny pipeline through a real SLURM: what each job asks for, and what a killed job or scheduler costs."""

import random
import re
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from cluster.conftest import SlurmWorkspace
from cluster.slurm import Cluster
from outcomes import Outcomes
from pipeline import tiny
from pipeline.conftest import Workspace
from pipeline.test_incremental import EXPERIMENTS

pytestmark = pytest.mark.cluster
# Every rule of `rule all` that a cluster is given; all others run where Snakemake runs.
RULES = {
    *("tokenize_documents", "extract_features", "dump_logits", "sum_logits", "fit_axes", "measure_mechanism"),
    *("solve_expressivity", "tabulate_mechanism", "tabulate_fits", "build_explorer", "write_manifest"),
}


def rule_of(comment: str) -> str:
    """The rule in the comment that the executor gives a job: rule_NAME or rule_NAME_wildcards_VALUES."""
    return comment.removeprefix("rule_").partition("_wildcards_")[0]


class Sniper(threading.Thread):
    """Cancels one job of each rule, at a seeded moment of its run, while a pipeline goes on."""

    def __init__(self, slurm: Cluster, rules: set[str], seed: int) -> None:
        super().__init__(daemon=True)
        self.slurm, self.left, self.moments = slurm, set(rules), random.Random(seed)
        self.cancelled: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        while self.left and not self.over.wait(0.2):
            for job, state, comment in self.slurm.queue():
                rule = rule_of(comment)
                if state == "R" and rule in self.left:
                    self.left.remove(rule)
                    time.sleep(self.moments.uniform(0, 1.5))
                    self.slurm.cancel(job)
                    self.cancelled.append(job)
                    break


def until(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing came in time"
        time.sleep(0.2)


def without_control(kind: type[Workspace], folder: Path) -> Workspace:
    """A fresh workspace of the tiny model and the mechanism alone: a control would be the same jobs again."""
    tiny.make_model(folder / "tiny-model")
    tiny.make_corpus(folder / "tiny-corpus")
    workspace = kind(folder)
    source = "source: path:tiny-model"
    workspace.edit("config/tiny.yaml", source, f"{source}\n    random_control: false")
    workspace.edit("config/tiny.yaml", EXPERIMENTS, "experiments: [mechanism]")
    return workspace


@pytest.fixture(scope="module")
def unperturbed(tmp_path_factory) -> Workspace:
    """The same run, local, to its end."""
    workspace = without_control(Workspace, tmp_path_factory.mktemp("unperturbed"))
    run = workspace.run()
    assert run.status == 0, run.output
    return workspace


@pytest.fixture(scope="module")
def story(slurm: Cluster, tmp_path_factory, unperturbed: Workspace) -> dict:
    """One workspace's whole life: its scheduler is killed while jobs run, and resumed in the order that
    docs/cluster.md gives; then one job of every rule is cancelled."""
    workspace = without_control(SlurmWorkspace, tmp_path_factory.mktemp("slurm"))
    workspace.environment |= slurm.environment

    process = workspace.start()
    until(lambda: any(rule_of(comment) == "extract_features" and state == "R" for _, state, comment in slurm.queue()))
    process.kill()
    process.wait()
    orphans = slurm.queue("--states", "running")
    run_id = re.search(r"SLURM run ID: (\S+)", workspace.last_log())[1]
    slurm.cancel("--name", run_id)
    until(lambda: not slurm.queue())
    locked = workspace.run()
    workspace.run("--unlock")
    before = {job["JobId"] for job in slurm.jobs()}

    sniper = Sniper(slurm, RULES - {"tokenize_documents"}, seed=0)
    sniper.start()
    run = workspace.run()
    sniper.over.set()
    sniper.join()
    every = slurm.jobs()
    jobs = [job for job in every if job["JobId"] not in before]
    return {
        **{"workspace": workspace, "orphans": orphans, "locked": locked, "run": run, "sniper": sniper},
        **{"every": every, "jobs": jobs},
    }


def test_a_killed_scheduler_and_cancelled_jobs_leave_the_digests_of_an_unperturbed_local_run(
    story, unperturbed, outcomes: Outcomes
):
    assert story["orphans"]
    assert story["locked"].status != 0 and "--unlock" in story["locked"].output
    assert story["run"].status == 0, story["run"].output[-3000:]
    assert len(story["sniper"].cancelled) == len(RULES) - 1
    assert story["workspace"].digests() == unperturbed.digests()
    outcomes.record(
        "SLURM: Snakemake is killed (SIGKILL) while jobs run",
        "jobs go on as orphans and the folder stays locked; after scancel, --unlock and a rerun, equal digests",
    )
    outcomes.record(
        "SLURM: a job of every rule that it runs is cancelled (scancel), one after another",
        "Snakemake submits each again; the run ends by itself with equal digests",
    )


def test_no_finished_job_is_submitted_twice(story):
    finished = Counter(job["Comment"] for job in story["jobs"] if job["JobState"] == "COMPLETED")
    assert finished and set(finished.values()) == {1}
    submitted = Counter(job["Comment"] for job in story["jobs"])
    cancelled = Counter(job["Comment"] for job in story["jobs"] if job["JobState"] == "CANCELLED")
    assert submitted == finished + cancelled


def test_cheap_rules_stay_local(story):
    assert {rule_of(job["Comment"]) for job in story["every"]} == RULES


def test_only_rules_that_run_a_model_get_a_gpu(story):
    asked = {rule_of(job["Comment"]) for job in story["every"] if "gpu" in job.get("TresPerJob", "")}
    assert asked == {"extract_features"}


def test_memory_and_time_grow_with_each_attempt(story):
    def asked(job: dict[str, str]) -> tuple[float, str]:
        memory = job["MinMemoryNode"]
        return float(memory[:-1]) * {"M": 1, "G": 1024}[memory[-1]], job["TimeLimit"]

    for number in story["sniper"].cancelled:
        first = next(job for job in story["jobs"] if job["JobId"] == number)
        again = [job for job in story["jobs"] if job["Comment"] == first["Comment"] and job["JobId"] != number]
        assert len(again) == 1
        assert asked(again[0])[0] == 2 * asked(first)[0], first["Comment"]
        assert asked(again[0])[1] > asked(first)[1], first["Comment"]
