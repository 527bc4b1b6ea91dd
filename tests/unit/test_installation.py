"""The library as a package: `pip install .` gives `import triaxis` anywhere, with one version and true requirements."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from triaxis.base.version import VERSION

PROJECT = Path(__file__).resolve().parents[2]
LIBRARY = PROJECT / "scripts" / "triaxis"
CONFIGURATION = tomllib.loads((PROJECT / "pyproject.toml").read_text())
# Said to be missing, in one line, where it is.
OPTIONAL = {"lm_eval"}
# Imported by others: transformers, to read GGUF files and sentencepiece's model files, and Altair, a page's scripts.
INDIRECT = {"gguf", "protobuf", "vl-convert-python"}


def requirements() -> dict[str, str]:
    """distribution -> its lower bound."""
    found = (re.fullmatch(r"([\w-]+)>=([\d.]+)", line) for line in CONFIGURATION["project"]["dependencies"])
    return {match[1].lower(): match[2] for match in found}


def imported() -> set[str]:
    """The distributions whose modules the library imports, wherever the import stands."""
    modules: set[str] = set()
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    distributions = metadata.packages_distributions()
    others = modules - sys.stdlib_module_names - OPTIONAL - {"triaxis"}
    return {distributions[module][0].lower() for module in others}


def test_the_package_requires_what_the_library_imports_and_no_more():
    assert set(requirements()) == imported() | INDIRECT


def test_each_lower_bound_is_the_version_that_the_tests_run_with():
    for name, bound in requirements().items():
        assert metadata.version(name).startswith(f"{bound}."), name


def test_the_version_is_told_once():
    assert CONFIGURATION["project"]["dynamic"] == ["version"]
    assert CONFIGURATION["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "triaxis.base.version.VERSION"}
    assert str(yaml.safe_load((PROJECT / "CITATION.cff").read_text())["version"]) == VERSION


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the library as its wheel holds it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(LIBRARY, source / "scripts/triaxis", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--no-build-isolation", "--wheel-dir", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"triaxis-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_the_whole_library_and_nothing_else(site):
    packed = {path.relative_to(site) for path in (site / "triaxis").rglob("*") if path.is_file()}
    own = {path.relative_to(LIBRARY.parent) for path in LIBRARY.rglob("*.py")}
    assert packed == own
    assert {path.name for path in site.iterdir()} == {"triaxis", f"triaxis-{VERSION}.dist-info"}


def test_the_installed_library_is_imported_anywhere_and_hashes_a_script_as_the_project_does(site, tmp_path):
    program = """
import pkgutil, sys
from importlib import import_module, metadata
sys.path.insert(0, sys.argv[1])
import triaxis
for module in pkgutil.walk_packages(triaxis.__path__, "triaxis."):
    import_module(module.name)
from triaxis.base.provenance import code_hash
print(triaxis.__file__, metadata.version("triaxis"), code_hash(sys.argv[2], "scripts/triaxis/fit/figures.py"))
"""
    # As Snakemake fetches it from a git repository.
    script = tmp_path / "fit_axes.py@v1"
    shutil.copy(PROJECT / "scripts/fit_axes.py", script)
    command = [sys.executable, "-I", "-c", program, site, script]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    from triaxis.base.provenance import code_hash

    own = code_hash("scripts/fit_axes.py", "scripts/triaxis/fit/figures.py")
    assert result.stdout.split() == [str(site / "triaxis/__init__.py"), VERSION, own]
    # Reading code leaves nothing in or beside the folder of packages.
    assert not list(site.parent.rglob(".cache"))
