"""docs/howto.md's recipes, as they are written: run, planned by a dry run, or, where neither can be, parsed."""

import re
import shlex
import subprocess
import sys

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from pipeline import tiny
from pipeline.conftest import PARTS, PROJECT, Run, Workspace
from triaxis.report.printed import query

QUERY = query("results/triaxis.duckdb")
PAGE = (PROJECT / "docs/howto.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(PAGE) if kind == language]


def commands() -> list[str]:
    """The commands of all shell blocks, without their comments."""
    lines = [line for text in blocks("bash") for line in text.replace("\\\n", " ").splitlines()]
    return [re.sub(r"\s+#.*", "", re.sub(" +", " ", line)).strip() for line in lines if line.strip()]


# What a test can only parse, and why.
PARSED = {
    "pip install": "needs the network",
    "s3://": "needs a bucket: test_storage plans it on a server of its own",
    "podman": "needs podman",
    "apptainer": "needs Apptainer",
}
RUN = ("results/sources.lock.json", "cp ", "python -c", "--unlock")
SNAKEMAKE = [one for one in commands() if one.startswith(".venv/bin/snakemake") and "s3://" not in one]
PLANNED = [one for one in SNAKEMAKE if not any(part in one for part in RUN)]
MAKE = [one for one in commands() if one.startswith("make ")]


def test_every_recipe_is_run_or_planned_or_said_why_not():
    others = [one for one in commands() if one not in PLANNED + MAKE and not any(part in one for part in RUN)]
    assert [one for one in others if not any(part in one for part in PARSED)] == []
    assert all(any(part in one for one in commands()) for part in [*PARSED, *RUN])


@pytest.mark.parametrize("command", commands())
def test_a_recipe_is_a_command(command):
    assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0
    files = re.findall(r"(?:-r|-f|--workflow-profile|--configfile) (\S+)", command)
    assert [file for file in files if file != "my.yaml" and not (PROJECT / file).exists()] == []


@pytest.fixture
def home(workspace: Workspace) -> Workspace:
    """A workspace whose my.yaml has the tests' model and corpus, named from the root."""
    write_yaml(workspace, {})
    return workspace


def write_yaml(workspace: Workspace, recipe: dict) -> None:
    """my.yaml: a recipe, of the tests' model and corpus unless it names its own; files that it makes up are the
    tests'."""
    tests = yaml.safe_load((workspace.folder / "config/tiny.yaml").read_text())
    text = yaml.safe_dump({key: tests[key] for key in ("models", "corpus")} | recipe)
    for made_up, own in (("/data/models/mine", "tiny-model"), ("texts/", "tiny-corpus/")):
        text = text.replace(f"path:{made_up}", f"path:{own}")
    (workspace.folder / "my.yaml").write_text(text.replace("path:tiny", f"path:{workspace.folder}/tiny"))


def shell(workspace: Workspace, command: str, *more: str) -> Run:
    """Run a recipe in a workspace with this Python, `more` right behind the command's name."""
    words = shlex.split(command)
    if words[0] == ".venv/bin/snakemake":
        words[:1] = [sys.executable, "-m", "snakemake", *more]
    if words[0] == ".venv/bin/python":
        words[0] = sys.executable
    result = subprocess.run(
        words,
        cwd=workspace.folder,
        env=workspace.environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return Run(result.returncode, result.stdout)


@pytest.mark.parametrize("command", PLANNED)
def test_a_run_is_planned(home, command):
    (home.folder / "runs/mine").mkdir(parents=True)
    local = ["--executor", "local"] if "--workflow-profile" in command else []
    run = shell(home, command, "--dry-run", *local)
    assert run.status == 0, run.output
    assert run.rules, run.output


@pytest.mark.parametrize("command", MAKE)
def test_make_has_the_target(command):
    # The reader's own configuration is not here: make asks for a file that is.
    words = ["make", "--dry-run", *shlex.split(command.replace("my.yaml", "config/tiny.yaml"))[1:]]
    result = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert any(part in result.stdout for part in ("snakemake", "estimate.py", "quickstart.py"))


@pytest.mark.parametrize("recipe", [text for text in blocks("yaml") if "lock:" not in text])
def test_a_configuration_is_planned(home, recipe):
    write_yaml(home, yaml.safe_load(recipe))
    run = shell(home, ".venv/bin/snakemake --cores 2 --configfile my.yaml", "--dry-run")
    assert run.status == 0, run.output


def test_a_lock_is_written_and_used(copy_of_finished):
    write_yaml(copy_of_finished, {})
    write, copy = [one for one in commands() if "lock.json" in one]
    for command in (write, copy):
        run = shell(copy_of_finished, command)
        assert run.status == 0, run.output
    (recipe,) = [yaml.safe_load(text) for text in blocks("yaml") if "lock:" in text]
    write_yaml(copy_of_finished, recipe)
    assert (copy_of_finished.folder / recipe["lock"]).exists()
    run = shell(copy_of_finished, ".venv/bin/snakemake --cores 2 --configfile my.yaml", "--dry-run")
    assert run.status == 0, run.output


def test_a_run_is_unlocked_and_queried(copy_of_finished):
    for command in [one for one in commands() if "--unlock" in one or "python -c" in one] + [QUERY]:
        run = shell(copy_of_finished, command)
        assert run.status == 0, run.output
    assert "│" in run.output
    assert QUERY in (PROJECT / "README.md").read_text()


def test_the_centres_are_read_without_triaxis(finished):
    (recipe,) = [text for text in blocks("python") if "safe_open" in text]
    assert "triaxis" not in recipe
    code = recipe.replace("model=smollm2-135m", "model=tiny")
    run = subprocess.run([sys.executable, "-c", code], cwd=finished.folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("tiny {") and run.stdout.endswith("(4, 256)\n")


def test_the_summary_of_a_run_has_a_line_for_each_experiment(copy_of_finished):
    run = shell(copy_of_finished, f".venv/bin/python {PROJECT}/scripts/print_headline.py")
    assert run.status == 0, run.output
    assert max(map(len, run.output.splitlines()[:-1])) <= 100
    for name in ("tiny-random", "heads", "surgery", "tolerance", "length"):
        assert name in run.output, name


def test_another_workflow_is_planned(workspace):
    folder = workspace.folder
    (folder / "triaxis").mkdir()
    for part in PARTS:
        (folder / part).rename(folder / "triaxis" / part)
    (recipe,) = blocks("snakemake")
    (folder / "Snakefile").write_text(recipe)
    settings = yaml.safe_load((folder / "triaxis/config/tiny.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump({"triaxis": settings}))
    run = shell(workspace, ".venv/bin/snakemake --cores 2", "--dry-run")
    assert run.status == 0, run.output
    assert run.rules["collect"] == 1 and "triaxis_fit_axes" in run.rules


def test_a_script_of_ones_own_perturbs_positions(tmp_path):
    (recipe,) = [text for text in blocks("python") if "perturbing" in text]
    tiny.make_model(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    ids = torch.arange(40).reshape(2, 20) % 17
    names = {"model": model, "ids": ids}
    with torch.inference_mode():
        exec(recipe, names)
        plain = model(input_ids=ids, use_cache=False).logits
    assert names["logits"].shape == plain.shape and not torch.allclose(names["logits"], plain)
