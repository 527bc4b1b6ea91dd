"""Killed at any moment, a rerun finishes with the same digests; what is damaged is named."""

import random
import time

import pytest


def test_two_runs_give_the_same_bytes(finished, workspace):
    run = workspace.run()
    assert run.status == 0, run.output
    assert workspace.digests() == finished.digests()
    assert len(finished.digests()) > 40


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_run_finishes_later_with_the_same_digests(finished, workspace, seed):
    moments = random.Random(seed)
    for _ in range(3):
        process = workspace.start()
        time.sleep(moments.uniform(4, 14))
        if process.poll() is None:
            workspace.kill(process)
        for path in workspace.folder.glob("results/**/*.parquet"):
            # Whatever has its final name is whole: the magic number closes a Parquet file.
            assert path.read_bytes()[-4:] == b"PAR1", path
    run = workspace.run()
    assert run.status == 0, run.output
    assert workspace.digests() == finished.digests()
    assert not list(workspace.folder.rglob("*.part"))


def test_a_deleted_file_is_made_again_alike(finished, copy_of_finished):
    for path in (copy_of_finished.folder / "results").glob("sums/*/shard-0001.parquet"):
        path.unlink()
    run = copy_of_finished.run()
    assert run.status == 0, run.output
    assert run.rules["sum_logits"] == 2
    assert "dump_logits" not in run.rules
    assert copy_of_finished.digests() == finished.digests()


@pytest.mark.parametrize(
    ("stage", "rule"),
    [("features", "dump_logits"), ("logits", "sum_logits"), ("sums", "fit_axes"), ("sequences", "extract_features")],
)
def test_a_truncated_file_is_named_with_the_remedy(copy_of_finished, stage, rule):
    path = copy_of_finished.folder / "results" / stage / "model=tiny" / "shard-0000.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    run = copy_of_finished.run("--forcerun", rule, "--keep-going", "--until", rule)
    assert run.status != 0
    lines = [line for line in run.output.splitlines() if line.startswith("ERROR:")]
    assert any(f"results/{stage}/model=tiny/shard-0000.parquet" in line and "delete it" in line for line in lines)


def test_a_lost_model_file_is_named_with_the_remedy(copy_of_finished):
    (copy_of_finished.folder / "tiny-model/model.safetensors").write_bytes(b"half")
    run = copy_of_finished.run(
        "--forcerun", "extract_features", "--until", "extract_features", "--rerun-triggers", "params"
    )
    assert run.status != 0
    assert "model.safetensors has 4 bytes, not the recorded" in run.output
