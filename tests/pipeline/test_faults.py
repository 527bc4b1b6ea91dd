"""Killed at any moment, a rerun finishes with the same digests; what is damaged is named."""

import random
import time

import pytest

from triaxis.sources import sha256_file


def test_a_killed_run_finishes_later_with_the_digests_of_an_undisturbed_one(finished, workspace):
    """A run in another folder, killed three times: also what shows that two runs give the same bytes."""
    moments = random.Random(0)
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
def test_a_truncated_file_is_named_with_the_remedy(copy_of_finished, stage, rule):
    path = copy_of_finished.folder / "results" / stage / "model=tiny" / "shard-0000.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    run = copy_of_finished.run("--forcerun", rule, "--keep-going", "--until", rule)
    assert run.status != 0
    lines = [line for line in run.output.splitlines() if line.startswith("ERROR:")]
    assert any(f"results/{stage}/model=tiny/shard-0000.parquet" in line and "delete it" in line for line in lines)


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
    assert "no model can be loaded from tiny-model" in lines[0]
