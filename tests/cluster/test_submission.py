"""What is submitted, and what is not: all shards as one array, nothing to a partition that is not there."""

import pytest

pytestmark = pytest.mark.cluster


def test_a_partition_that_is_not_there_is_named_in_one_line(slurm, slurm_workspace, outcomes):
    before = len(slurm.jobs())
    run = slurm_workspace.run("--default-resources", "slurm_partition=nowhere")
    assert run.status != 0
    lines = [line for line in run.output.splitlines() if "nowhere" in line and not line.strip().startswith("Command")]
    assert len(lines) == 1 and lines[0].startswith("ERROR: slurm_partition 'nowhere'"), run.output[-2000:]
    assert "which has main" in lines[0]
    assert len(slurm.jobs()) == before
    assert not list((slurm_workspace.folder / "results").rglob("*.parquet"))
    outcomes.record("SLURM: a partition that is not there", "one line names it and those there are; nothing runs")


def test_shards_go_out_as_one_array(slurm, slurm_workspace):
    """As docs/cluster.md says: what comes before first, then all shards at once."""
    assert slurm_workspace.run("--until", "sample_sequences").status == 0
    before = {job["JobId"] for job in slurm.jobs()}
    run = slurm_workspace.run("--until", "extract_features", "--slurm-array-jobs", "extract_features")
    assert run.status == 0, run.output[-3000:]
    jobs = [job for job in slurm.jobs() if job["JobId"] not in before]
    assert len(jobs) == 4
    assert len({job["ArrayJobId"] for job in jobs}) == 1
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
