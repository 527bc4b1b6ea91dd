"""What the project promises about itself: pins, profiles, environments, rules and scripts that agree."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kinds import read_kinds
from outcomes import known, read_rows
from triaxis.base import provenance

PROJECT = Path(__file__).resolve().parents[2]
RULES = sorted((PROJECT / "rules").glob("*.smk"))


def pins(lines: list[str]) -> dict[str, str]:
    found = (re.fullmatch(r"([A-Za-z0-9._-]+)==([^ ;]+)", line.strip()) for line in lines)
    return {match[1].lower().replace("_", "-"): match[2] for match in found if match}


def rule_texts() -> dict[str, str]:
    """rule -> its text; a rule that only gathers files (a target) is none of them."""
    parts = [re.split(r"^(?= *rule )", path.read_text(), flags=re.MULTILINE)[1:] for path in RULES]
    texts = {re.match(r" *rule (\w+)", text)[1]: text for part in parts for text in part}
    return {rule: text for rule, text in texts.items() if "    output:" in text or "    script:" in text}


@pytest.mark.parametrize("name", ["gpu", "analysis"])
def test_environment_pins_agree_with_the_lock(name):
    environment = yaml.safe_load((PROJECT / f"envs/{name}.yaml").read_text())
    own = pins(environment["dependencies"][-1]["pip"])
    locked = pins((PROJECT / "requirements.lock").read_text().splitlines())
    assert own
    assert own.items() <= locked.items()


def test_the_analysis_environment_has_no_torch():
    assert "torch" not in (PROJECT / "envs/analysis.yaml").read_text()


def test_every_installed_pin_is_the_locked_one():
    locked = pins((PROJECT / "requirements.lock").read_text().splitlines())
    installed = subprocess.run([sys.executable, "-m", "pip", "freeze"], capture_output=True, text=True, check=True)
    present = {name: version.split("+")[0] for name, version in pins(installed.stdout.splitlines()).items()}
    assert {name: present.get(name) for name in locked} == locked


@pytest.mark.parametrize("profile", sorted((PROJECT / "profiles").iterdir()), ids=lambda path: path.name)
def test_every_profile_repeats_what_reruns_depend_on(profile):
    default = yaml.safe_load((PROJECT / "profiles/default/profile.yaml").read_text())
    own = yaml.safe_load((profile / "profile.yaml").read_text())
    assert "mtime" in default["rerun-triggers"]
    assert "code" not in default["rerun-triggers"]
    assert default.items() <= own.items()


@pytest.mark.parametrize("rule", sorted(rule_texts()))
def test_every_rule_is_complete(rule):
    text = rule_texts()[rule]
    for directive in ("output", "params", "log", "benchmark", "threads", "resources", "conda", "message", "script"):
        assert f"    {directive}:" in text, directive
    assert f'code_hash("scripts/{rule}.py")' in text
    assert f'"../scripts/{rule}.py"' in text
    assert (PROJECT / f"scripts/{rule}.py").exists()


def test_every_script_is_a_rule_or_for_make():
    scripts = {path.stem for path in (PROJECT / "scripts").glob("*.py")}
    made = {
        "estimate",
        "print_headline",
        "plot_figure",
        "write_facts",
        "write_files_page",
        "write_configuration",
        "write_own",
    }
    assert scripts - set(rule_texts()) == made


def test_analysis_rules_import_no_torch():
    code = "import sys, {}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    modules = set()
    for rule, text in rule_texts().items():
        if "envs/analysis.yaml" in text:
            modules |= imported(f"scripts/{rule}.py")
    assert modules
    command = [sys.executable, "-c", code.format(", ".join(sorted(modules)))]
    assert subprocess.run(command, cwd=PROJECT / "scripts", check=False).returncode == 0


def imported(script: str) -> set[str]:
    """The triaxis modules that a script imports, directly or not, by their full names."""

    own = [path.relative_to(PROJECT / "scripts") for path in provenance.sources(PROJECT / script)]
    names = {".".join(path.with_suffix("").parts) for path in own if path.parts[0] == "triaxis"}
    return {name for name in names if not name.endswith("__init__")}


def test_the_snakefile_imports_nothing_heavy():
    heavy = re.compile(r"^\s*(import|from) (torch|transformers|duckdb|pyarrow|numpy|matplotlib)", re.MULTILINE)
    for path in [PROJECT / "Snakefile", *RULES]:
        assert not heavy.search(path.read_text()), path


def test_the_slurm_profile_gives_a_gpu_to_the_rules_that_run_a_model_and_to_no_other():
    profile = yaml.safe_load((PROJECT / "profiles/slurm/profile.yaml").read_text())
    runs = {
        path.stem
        for path in (PROJECT / "scripts").glob("*.py")
        if re.search(r"choose_device\(|open_model\(", path.read_text())
    }
    again = [re.findall(r"use rule (\w+) as (\w+)", path.read_text()) for path in RULES]
    runs |= {rule for found in again for original, rule in found if original in runs}
    assert {rule for rule, resources in profile["set-resources"].items() if resources.get("gpu")} == runs
    # Here they take the one GPU in turn; those that `use rule` makes have it from the rule that they are made of.
    assert {rule for rule, text in rule_texts().items() if "**ON_GPU" in text} == runs & rule_texts().keys()


def test_what_a_cluster_is_given_may_grow_and_the_rest_is_local():
    """A job that SLURM killed for its memory or time would only be killed again."""
    for rule, text in rule_texts().items():
        if "localrule: True" not in text:
            assert re.search(r"mem_mb=(growing|by_length|by_tokens)\(", text) and "runtime=growing(" in text, rule


def test_the_page_of_reliability_says_nothing_that_no_test_tries():
    assert read_rows()
    assert [tried for tried in read_rows() if not known(tried)] == []
    assert read_kinds()
    assert [tried for _, tried in read_kinds() if not known(tried)] == []


def test_a_configuration_that_is_not_there_is_one_line():
    own = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}  # not those of `make test`
    make = subprocess.run(
        ["make", "--dry-run", "run", "CONFIG=nothere.yaml"],
        cwd=PROJECT,
        env=own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert make.returncode != 0
    assert len(make.stderr.splitlines()) == 1 and "'nothere.yaml'" in make.stderr


def make_commands(target: str) -> list[str]:
    """The commands of a target of the Makefile, as it is written."""
    text = (PROJECT / "Makefile").read_text()
    (commands,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", text, flags=re.MULTILINE)
    return [line.strip() for line in commands.splitlines()]


def test_pre_commit_runs_the_linters_of_make_lint():
    hooks = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    own = [command.replace("$(BIN)", ".venv/bin") for command in make_commands("lint")]
    assert sorted(hook["entry"] for hook in hooks) == sorted(own)


def test_the_workflows_of_github_run_what_is_there():
    workflow = yaml.safe_load((PROJECT / ".github/workflows/ci.yml").read_text())
    ran = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert sorted(ran) == ["bash .ci/run", "make docs", "make lint", "make run"]
    assert all(make_commands(command.split()[1]) for command in ran if command.startswith("make"))


def test_the_workflow_catalogue_finds_what_it_asks_for():
    """The conditions of its list of all workflows, and its two files."""
    readme = (PROJECT / "README.md").read_text().lower()
    assert "snakemake" in readme and "workflow" in readme
    assert (PROJECT / "Snakefile").exists() and RULES and (PROJECT / "config/README.md").exists()
    usage = yaml.safe_load((PROJECT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["report"] is True and "conda" in usage["software-stack-deployment"]


def test_every_page_and_package_is_in_the_contents_of_the_site():
    contents = set(re.findall(r"^ +- (\S+\.md)$", (PROJECT / "mkdocs.yml").read_text(), flags=re.MULTILINE))
    assert contents == {path.relative_to(PROJECT / "docs").as_posix() for path in (PROJECT / "docs").rglob("*.md")}
    packages = {path.parent.name for path in (PROJECT / "scripts/triaxis").glob("*/__init__.py")}
    assert {page.removeprefix("api/") for page in contents if page.startswith("api/")} == {
        "index.md",
        *(f"{package}.md" for package in packages),
    }


def test_the_lock_of_the_site_is_no_other_than_the_environments():
    locked, site = (
        pins((PROJECT / name).read_text().splitlines()) for name in ("requirements.lock", "docs/requirements.lock")
    )
    assert len(site) > 10 and not site.keys() & locked.keys()


def test_the_lock_of_the_notebook_is_no_other_than_the_environments_and_of_one_mind_with_the_tests():
    locked, notebook, tests = (
        pins((PROJECT / name).read_text().splitlines())
        for name in ("requirements.lock", "notebooks/requirements.lock", "tests/requirements.lock")
    )
    assert "marimo" in notebook and not notebook.keys() & locked.keys()
    assert all(notebook[name] == tests[name] for name in notebook.keys() & tests.keys())
