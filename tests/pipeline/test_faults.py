"""What is damaged, full, read-only or shared is named, or comes out right; kills have a file of their own."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.conftest import Workspace
from triaxis.base.digests import sha256_file


def test_a_deleted_file_is_made_again_alike(copy_of_finished):
    deleted = "results/sums/model=tiny/shard-0001.parquet"
    (copy_of_finished.folder / deleted).unlink()
    run = copy_of_finished.run(deleted)
    assert run.status == 0, run.output
    assert run.rules == {"sum_logits": 1}
    assert sha256_file(copy_of_finished.folder / deleted) == copy_of_finished.digests()[deleted]


@pytest.mark.parametrize(
    ("stage", "rule"),
    [("features", "dump_logits"), ("logits", "sum_logits"), ("sums", "fit_axes"), ("sequences", "extract_features")],
)
def test_a_truncated_file_is_named_with_the_remedy(copy_of_finished, stage, rule, outcomes):
    path = copy_of_finished.folder / "results" / stage / "model=tiny" / "shard-0000.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    run = copy_of_finished.run("--forcerun", rule, "--keep-going", "--until", rule)
    assert run.status != 0
    lines = [line for line in run.output.splitlines() if line.startswith("ERROR:")]
    assert any(f"results/{stage}/model=tiny/shard-0000.parquet" in line and "delete it" in line for line in lines)
    outcomes.record("a Parquet file is cut short", "one line names it and says: delete it and rerun")


def test_a_model_file_that_changed_since_it_was_fetched_is_named_with_the_remedy(copy_of_finished):
    """A file that Snakemake does not watch: the folder that a fetch made."""
    record = copy_of_finished.folder / "resources/models/tiny.json"
    record.write_text(record.read_text().replace('"bytes": ', '"bytes": 1'))
    run = copy_of_finished.run("results/features/model=tiny/shard-0000.parquet", "--forcerun", "extract_features")
    assert run.status != 0
    assert "bytes, not the recorded 1" in run.output
    assert "delete the record file of path:tiny-model and rerun" in run.output


def test_weights_that_are_damaged_are_named(copy_of_finished):
    (copy_of_finished.folder / "tiny-model/model.safetensors").write_bytes(b"half")
    run = copy_of_finished.run("results/features/model=tiny/shard-0000.parquet")
    assert run.status != 0
    lines = [line for line in run.output.splitlines() if line.startswith("ERROR:")]
    assert len(lines) == 1
    assert "tiny-model/model.safetensors is no safetensors file, or a damaged one" in lines[0]


@contextmanager
def mounted(*arguments: str | Path) -> Iterator[None]:
    """A mount for the time of a test; skips where even root may not mount. The last argument is where."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    if subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", arguments[-1]], check=True)


def assert_whole(workspace: Workspace, finished: Workspace, *stages: str) -> None:
    """Every file of these stages has the digest that an unperturbed run gave it, and no part of one is left."""
    for path, sha256 in finished.digests().items():
        if path.split("/")[1] in stages:
            assert sha256_file(workspace.folder / path) == sha256, path
    assert not list(workspace.folder.rglob("*.part"))


def errors(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("ERROR:")]


def test_a_full_disk_is_named_and_costs_only_what_was_being_written(workspace, finished, outcomes):
    results = workspace.folder / "results"
    results.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=400k", "tmpfs", results):
        run = workspace.run("--keep-going", "--until", "sum_logits")
        assert run.status != 0
        assert any("No space left on device" in line and "free some" in line for line in errors(run.output)), run.output
        assert not list(results.rglob("*.part"))
        subprocess.run(["mount", "-o", "remount,size=100m", results], check=True)
        again = workspace.run("--until", "sum_logits")
        assert again.status == 0, again.output
        assert again.rules.keys() < run.rules.keys(), "what was whole is kept"
        assert_whole(workspace, finished, "features", "rope", "logits", "sums")
    outcomes.record("the disk of `results/` is full", "one line names the file; with space again, equal digests")


def test_results_that_are_read_only_are_named_and_stay_as_they_were(copy_of_finished, finished, outcomes):
    results = copy_of_finished.folder / "results"
    with mounted("--bind", results, results):
        subprocess.run(["mount", "-o", "remount,bind,ro", results], check=True)
        run = copy_of_finished.run("--forcerun", "fit_axes", "--until", "fit_axes")
        assert run.status != 0
        assert "Write-protected output files" in run.output, run.output
        assert re.search(r"results/fits/model=[\w-]+/shard-\d+\.parquet", run.output)
    assert copy_of_finished.dry().nothing
    assert_whole(copy_of_finished, finished, "sums", "fits", "components", "tables")
    outcomes.record("`results/` is read-only", "Snakemake names the file that it cannot write; nothing is lost")


def set_clock(workspace: Workspace, seconds: float) -> None:
    """Stamp half of the stages as if the clock had been wrong by so much when they were written."""
    wrong = time.time() + seconds
    for stage in ("sequences", "features", "rope", "sums"):
        for path in workspace.folder.glob(f"results/{stage}/**/*.parquet"):
            os.utime(path, (wrong, wrong))


def test_a_clock_that_was_behind_changes_nothing(copy_of_finished, finished, outcomes):
    set_clock(copy_of_finished, -86_400 * 365)
    assert copy_of_finished.dry().nothing
    run = copy_of_finished.run("--forcerun", "dump_logits", "--until", "dump_logits")
    assert run.status == 0, run.output
    assert_whole(copy_of_finished, finished, "logits", "sums")
    assert copy_of_finished.dry().nothing
    outcomes.record("the clock was a year behind while half of the files were written", "nothing is made twice")


def test_a_clock_that_was_ahead_is_named_and_touching_the_files_mends_it(copy_of_finished, finished, outcomes):
    set_clock(copy_of_finished, 86_400)
    assert copy_of_finished.dry().nothing
    run = copy_of_finished.run("--forcerun", "dump_logits", "--until", "dump_logits")
    assert run.status != 0
    assert "has older modification time" in run.output and "clock skew" in run.output
    set_clock(copy_of_finished, 0)
    again = copy_of_finished.run("--forcerun", "dump_logits", "--until", "dump_logits")
    assert again.status == 0, again.output
    assert_whole(copy_of_finished, finished, "logits", "sums")
    outcomes.record(
        "the clock was a day ahead while half of the files were written",
        "one line names the files and the clock, and the run stops; once they are touched, equal digests",
    )


def test_a_second_run_in_the_same_folder_is_refused_and_the_first_goes_on(copy_of_finished, finished, outcomes):
    first = copy_of_finished.start("--forcerun", "measure_mechanism")
    deadline = time.monotonic() + 60
    while not list((copy_of_finished.folder / ".snakemake" / "locks").glob("*")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    second = copy_of_finished.run("--forcerun", "fit_axes")
    assert second.status != 0
    assert "Directory cannot be locked" in second.output
    assert first.wait() == 0
    assert_whole(copy_of_finished, finished, "patterns", "tables")
    outcomes.record("a second run starts in the same folder", "it is refused in one line; the first one finishes")


def test_two_runs_that_ignore_the_lock_write_no_wrong_file(copy_of_finished, finished, outcomes):
    both = [copy_of_finished.start("--nolock", "--forcerun", "sum_logits", "--until", "fit_axes") for _ in range(2)]
    for run in both:
        run.wait()
    run = copy_of_finished.run()
    assert run.status == 0, run.output
    assert_whole(copy_of_finished, finished, "sums", "fits", "components", "tables")
    outcomes.record("two runs at once with `--nolock`", "a rerun gives equal digests, whatever either came to")
