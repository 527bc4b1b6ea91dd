"""The ladder of packages: each imports only those above it, and what measures or sums up draws nothing.

What a module imports is what its files are remade for (base.provenance), so these rules keep reruns small.
"""

import ast
from pathlib import Path

import pytest

from triaxis.base import choices
from triaxis.fit.combinations import COMBINATIONS
from triaxis.length import figures as length_figures
from triaxis.surgery.variants import VARIANTS
from triaxis.tolerance import figures as tolerance_figures

PACKAGE = Path(__file__).resolve().parents[2] / "scripts" / "triaxis"
LADDER = [
    *("base", "text", "model", "attention", "logits", "fit"),
    *("mechanism", "heads", "length", "surgery", "tolerance", "tasks", "training", "explorer", "report"),
]
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__init__.py"
}


def imports_of(path: Path) -> set[str]:
    """Modules that a file imports, wherever the statement stands: 'fit.axes' for ours, 'numpy.typing' for others."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path} has a relative import"
            # `from triaxis.fit import axes` imports a module, `from triaxis.fit.axes import FULL` a name of one.
            of_package = node.module.count(".") < 2 and node.module.startswith("triaxis")
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if of_package else {node.module}
    return {name.removeprefix("triaxis.") if name.startswith("triaxis.") else f"other {name}" for name in found}


IMPORTS = {name: imports_of(path) for name, path in MODULES.items()}
OURS = {name: {other for other in found if not other.startswith("other ")} for name, found in IMPORTS.items()}


def reached_from(name: str) -> set[str]:
    """A module and all of ours that it imports, directly or through one another."""
    seen, todo = set(), [name]
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += OURS[module]
    return seen


def test_every_package_has_its_place() -> None:
    assert sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__") == sorted(
        LADDER
    )
    assert {name.split(".")[0] for name in MODULES} == set(LADDER)
    unknown = {name: own - set(MODULES) for name, own in OURS.items() if own - set(MODULES)}
    assert not unknown, "imports of what is no module"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_packages_above_its_own(name: str) -> None:
    place = LADDER.index(name.split(".")[0])
    allowed = {"report.style"} if name.endswith(".figures") else set()
    below = {other for other in OURS[name] - allowed if LADDER.index(other.split(".")[0]) > place}
    assert not below


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith(".figures")])
def test_what_measures_or_sums_up_draws_nothing(name: str) -> None:
    """A change of colour would remake it."""
    reached = reached_from(name)
    assert not {other for other in reached if other.endswith(".figures")}
    drawing = {other for other in reached if any(found.startswith("other matplotlib") for found in IMPORTS[other])}
    assert drawing <= {name} & {"report.style"}


def test_figures_share_a_style_that_knows_no_experiment() -> None:
    assert {other.split(".")[0] for other in reached_from("report.style") - {"report.style"}} == {"base"}


@pytest.mark.parametrize("name", [name for name in MODULES if name.endswith((".figures", ".summary"))])
def test_tables_and_figures_need_no_model(name: str) -> None:
    """Nor the seconds that importing torch takes."""
    needed = {found for other in reached_from(name) for found in IMPORTS[other]}
    assert not {found for found in needed if found.split()[-1].split(".")[0] in ("torch", "transformers")}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_packages_export_nothing(path: Path) -> None:
    """Else a package would be one module for reruns."""
    assert path.parent == PACKAGE or path.read_bytes() == b""


def test_what_a_user_may_choose_is_what_there_is() -> None:
    assert tuple(length_figures.LOOK) == choices.LENGTH_METHODS
    assert tuple(tolerance_figures.COLOURS) == choices.PERTURBATIONS
    of_forms = [name for name, variant in VARIANTS.items() if variant.kind not in ("exact", "control")]
    assert tuple(of_forms) == choices.STEP_VARIANTS
    pairs = ("distance+key", "query+key", "distance+query")
    assert ("distance+query+key", *pairs, "distance", "query", "key") == COMBINATIONS
