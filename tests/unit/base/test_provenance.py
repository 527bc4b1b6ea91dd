"""Code digests see what a script imports and nothing else, and metadata chain from file to file."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from triaxis.base import provenance
from triaxis.base.provenance import code_hash, describe, digest, sources

SCRIPTS = sorted(provenance.SCRIPTS.glob("*.py"))


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Path:
    """A copy of scripts/ to change, which `provenance` takes for the real one."""
    folder = tmp_path / "scripts"
    shutil.copytree(provenance.SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "SCRIPTS", folder)
    return folder


def append(path: Path, text: str = "\nCHANGED = 1\n") -> None:
    path.write_text(path.read_text() + text)


# What a script imports


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    """Script -> the files of triaxis that its import statements load, each from a clean start.

    In one process, which runs the statements alone: scripts need Snakemake, and torch loads once.
    """
    program = """
import ast, json, sys
from pathlib import Path

found = {}
for script in map(Path, sys.argv[1:]):
    for name in [name for name in sys.modules if name.split(".")[0] == "triaxis"]:
        del sys.modules[name]
    tree = ast.parse(script.read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(tree, script, "exec"), {})
    found[script.name] = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "triaxis"]
print(json.dumps(found))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, SCRIPTS)],
        env=os.environ | {"PYTHONPATH": str(provenance.SCRIPTS), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {script: set(files) for script, files in json.loads(done.stdout).items()}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_closure_covers_what_is_really_imported(script, imported):
    covered = {str(path) for path in sources(script)}
    assert imported[script.name] <= covered
    assert bool(imported[script.name]) == ("from triaxis" in script.read_text())
    assert str(script) in covered


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_imports_only_at_its_top(script):
    """The test above sees no other imports."""
    tree = ast.parse(script.read_text())
    nested = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert all(node in tree.body for node in nested)


# The digest of code


def test_the_hash_changes_with_the_script_and_with_what_it_imports_however_deep(copied):
    append(copied / "fit_axes.py", "")
    seen = {code_hash("scripts/fit_axes.py")}
    # fit_axes imports sums_file, sums_file imports parquet, parquet imports errors.
    modules = ("fit/sums_file", "base/errors", "fit/__init__", "__init__")
    for name in ("fit_axes.py", *(f"triaxis/{module}.py" for module in modules)):
        append(copied / name)
        seen.add(code_hash("scripts/fit_axes.py"))
    assert len(seen) == 6


def test_the_hash_does_not_change_with_other_modules_or_a_touch_or_the_place(copied):
    before = code_hash("scripts/fit_axes.py")
    for name in ("attention/capture", "logits/extract", "text/sources", "base/config"):
        append(copied / "triaxis" / f"{name}.py")
    append(copied / "sum_logits.py")
    for path in copied.rglob("*.py"):
        os.utime(path, (1, 1))
    (copied / "triaxis" / "new.py").write_text("x = 1\n")
    assert code_hash("scripts/fit_axes.py") == before
    assert code_hash("scripts/dump_logits.py") != before


def test_the_hash_does_not_depend_on_where_the_project_is(copied, monkeypatch, tmp_path):
    before = code_hash("scripts/fit_axes.py")
    shutil.copytree(copied, tmp_path / "elsewhere" / "scripts")
    monkeypatch.setattr(provenance, "SCRIPTS", tmp_path / "elsewhere" / "scripts")
    assert code_hash("scripts/fit_axes.py") == before


def test_swapping_the_contents_of_two_modules_changes_the_hash(copied):
    before = code_hash("scripts/fit_axes.py")
    one, two = copied / "triaxis" / "base" / "errors.py", copied / "triaxis" / "base" / "parquet.py"
    first, second = one.read_text(), two.read_text()
    one.write_text(second)
    two.write_text(first)
    assert code_hash("scripts/fit_axes.py") != before


@pytest.mark.parametrize(
    "statement",
    [
        "from triaxis.base import config",
        "from triaxis.base.config import resolve",
        "import triaxis.base.config",
        "import triaxis.base.config as other",
        "import json, triaxis.fit.axes, triaxis.base.config",
        "from triaxis.base import files, config as other",
        "from triaxis.base import (\n    files,\n    config as other,\n)",
        "def later():\n    from triaxis.base import config",
    ],
)
def test_every_form_of_import_is_followed(copied, statement):
    (copied / "script.py").write_text(statement + "\n")
    found = {path.relative_to(copied).as_posix() for path in sources(copied / "script.py")}
    wanted = ["__init__", "base/__init__", "base/config", "base/errors"]
    assert {"script.py", *(f"triaxis/{name}.py" for name in wanted)} <= found
    assert "triaxis/attention/capture.py" not in found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1\n", "x = 1  # why\n"),
        ("x = 1\n", "# why\n\nx = (1)\n"),
        ('"""One."""\nx = 1\n', '"""Two."""\nx = 1\n'),
        ('def f():\n    """One."""\n    return 1\n', "def f():\n    return 1\n"),
        (
            'class A:\n    """One."""\n\n    def f(self):\n        "Two."\n',
            "class A:\n    def f(self):\n        'Three.'\n",
        ),
    ],
)
def test_comments_docstrings_and_layout_are_no_change(copied, before, after):
    hashes = set()
    for text in (before, after):
        (copied / "script.py").write_text(text)
        hashes.add(code_hash("scripts/script.py"))
    assert len(hashes) == 1


@pytest.mark.parametrize("after", ["x = '2'\n", "x = 1\n", "y = '1'\n", "x = '1'\nx\n"])
def test_every_other_change_is_one(copied, after):
    hashes = set()
    for text in ("x = '1'\n", after):
        (copied / "script.py").write_text(text)
        hashes.add(code_hash("scripts/script.py"))
    assert len(hashes) == 2


def test_the_hash_is_the_same_with_what_it_kept_and_without_and_where_it_cannot_write(copied):
    provenance._analyse.cache_clear()
    first = code_hash("scripts/fit_axes.py")
    kept = list((copied.parent / ".cache" / "code").iterdir())
    assert kept
    for file in kept:
        file.write_text("{")
    provenance._analyse.cache_clear()
    assert code_hash("scripts/fit_axes.py") == first
    shutil.rmtree(copied.parent / ".cache")
    (copied.parent / ".cache").write_text("not a folder")
    provenance._analyse.cache_clear()
    assert code_hash("scripts/fit_axes.py") == first


def test_a_missing_script_is_an_error(copied):
    with pytest.raises(FileNotFoundError):
        code_hash("scripts/no.py")


# Metadata


def test_a_digest_is_of_the_content_not_of_its_order():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1, "b": [1, 2]}) != digest({"a": 1, "b": [2, 1]})
    assert len(digest(None)) == 16 and int(digest(None), 16) >= 0


def test_metadata_pass_on_the_model_and_its_revision():
    upstream = {"model": "tiny", "revision": "abc", "prefix": "[1]", "config_digest": "0", "code_digest": "1"}
    found = describe({"code": "c", "length": 8}, upstream)
    assert set(found) == {"model", "revision", "config_digest", "code_digest"}
    assert (found["model"], found["revision"]) == ("tiny", "abc")
    assert set(describe({"code": "c"}, {})) == {"config_digest", "code_digest"}


def test_a_change_of_a_stage_changes_its_digest_and_all_further_down_and_no_other_kind():
    def chain(first: dict, second: dict) -> tuple[dict, dict]:
        above = describe(first, {})
        return above, describe(second, above)

    a, b = {"code": "a", "count": 8}, {"code": "b", "length": 16}
    above, below = chain(a, b)
    for changed, kind, other in (("code", "code_digest", "config_digest"), ("count", "config_digest", "code_digest")):
        new_above, new_below = chain(a | {changed: "new"}, b)
        assert new_above[kind] != above[kind] and new_below[kind] != below[kind]
        assert new_above[other] == above[other] and new_below[other] == below[other]
    new_above, new_below = chain(a, b | {"length": 32})
    assert new_above == above and new_below["config_digest"] != below["config_digest"]
    assert chain(a, b) == (above, below)
