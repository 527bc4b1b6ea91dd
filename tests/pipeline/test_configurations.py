"""The ready configurations plan what they promise, and sources can be pinned."""

import json
import re
import subprocess

import pytest
import yaml

from pipeline.conftest import PROJECT


@pytest.mark.parametrize(
    ("configfile", "models", "shards"),
    [("config.yaml", 1, 1), ("config/long.yaml", 1, 1), ("config/paper.yaml", 4, 50)],
)
def test_a_ready_configuration_plans_its_run(workspace, configfile, models, shards):
    workspace.configfile = configfile
    run = workspace.dry()
    assert run.status == 0, run.output
    assert run.rules["fetch_model"] == models
    assert run.rules["extract_features"] == 2 * models * shards
    assert run.rules["render_report"] == 1


@pytest.mark.parametrize(
    ("configfile", "fetched", "trained", "checkpoints", "shards"),
    [("config/training.yaml", 0, 2, 16, 1), ("config/pythia.yaml", 23, 0, 23, 2)],
)
def test_a_configuration_of_series_plans_a_model_a_step(workspace, configfile, fetched, trained, checkpoints, shards):
    workspace.configfile = configfile
    run = workspace.dry()
    assert run.status == 0, run.output
    assert run.rules.get("fetch_model", 0) == fetched and run.rules.get("train_model", 0) == trained
    assert run.rules["tokenize_documents"] == checkpoints
    assert run.rules["measure_checkpoint"] == checkpoints * shards
    assert run.rules["tabulate_training"] == run.rules["render_report"] == 1


def test_the_long_run_forms_no_whole_matrix_and_measures_the_default_model():
    """A head of 8,192 tokens has 34 million cells."""
    default, own = (yaml.safe_load((PROJECT / file).read_text()) for file in ("config.yaml", "config/long.yaml"))
    model = own["models"]["smollm2-135m"]
    assert model.items() <= default["models"]["smollm2-135m"].items()
    assert own["logits"]["keep"] != "all"
    assert max(own["fits"]["prefixes"]) < own["sequences"]["length"] == 8192
    assert own["sequences"]["count"] <= own["sequences"]["per_document"], "the corpus is one document"


def test_the_long_run_leaves_the_default_run_as_it_is():
    plan = subprocess.run(["make", "--dry-run", "long"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert plan.returncode == 0, plan.stderr
    assert "--directory runs/long --configfile config/long.yaml" in plan.stdout


def test_a_users_models_replace_the_default_ones(workspace):
    """The default configuration lies under the user's: its model must not run along."""
    assert "smollm2" not in workspace.dry().output


def test_hub_sources_are_written_down_and_path_sources_are_not(copy_of_finished):
    run = copy_of_finished.run("results/sources.lock.json")
    assert run.status == 0, run.output
    assert json.loads((copy_of_finished.folder / "results/sources.lock.json").read_text()) == {}


def test_the_slurm_profile_plans_the_same_run(workspace):
    local = workspace.dry().rules
    assert workspace.dry("--workflow-profile", "profiles/slurm", "--executor", "local").rules == local


def test_nested_values_of_the_command_line_are_those_of_a_file(copy_of_finished):
    """Snakemake hands them on as text; as numbers they are those that the run had."""
    own = "fits={bootstrap_samples: 200}"
    assert copy_of_finished.dry("--config", "sequences={count: 4, length: 32}", own, "lock=null").nothing
    assert copy_of_finished.dry("--config", "sequences={count: 5}").rules["sample_sequences"] == 2


def test_jobs_that_run_a_model_take_the_gpu_in_turn(workspace):
    """A file of the project stands for the device file of a GPU; no job of the target runs a model."""
    workspace.edit("scripts/triaxis/base/gpu.py", "/dev/dxg", "Snakefile")

    def provided(*options: str) -> list[str]:
        output = workspace.run("--forceall", *options, "--", "results/documents.parquet").output
        assert "steps (100%) done" in output, output
        return re.findall(r"Provided resources: .*gpu.*(\d)", output)

    assert provided("--config", "run={device: auto}") == ["1"]
    assert provided("--config", "run={device: auto}", "--resources", "gpu=2") == ["2"]
    assert provided("--config", "run={device: cpu}") == []
