"""What the documents promise: tables as the schemas are, links that lead somewhere, lines of 100 characters."""

import re
from pathlib import Path

import numpy as np
import pytest

import write_files_page as files_page
from triaxis.fit.groups import draw_groups

PROJECT = Path(__file__).resolve().parents[2]

PAGES = ["README.md", "CONTRIBUTING.md"]
PAGES += sorted(path.relative_to(PROJECT).as_posix() for path in (PROJECT / "docs").rglob("*.md"))
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
MATH = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(page: str) -> str:
    """A page without its fenced code."""
    return FENCE.sub("", (PROJECT / page).read_text())


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def long_lines(text: str) -> list[str]:
    """The lines over 100 characters of a page without fenced code, but for tables, code blocks, display math, and lines
    whose length is that of one link or address."""
    lines = [line for line in MATH.sub("$", text).splitlines() if not line.startswith(("|", "    "))]
    return [line for line in lines if len(line) > 100 and max(map(len, line.split())) < 60]


@pytest.mark.parametrize("page", PAGES)
def test_no_line_of_a_page_is_over_100_characters(page):
    assert long_lines(prose(page)) == []


def test_the_readme_is_a_page():
    assert len((PROJECT / "README.md").read_text().splitlines()) <= 120


def test_a_long_line_is_found_and_a_table_or_an_address_is_none():
    words = "word " * 30
    assert long_lines(f"short\n{words}\n") == [words]
    assert long_lines(f"| {words} |\n    {words}\n[page](https://{'x' * 120})\n$$\n{words}\n$$\n") == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target in LINK.findall(prose(page)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = (PROJECT / page).parent / file if file else PROJECT / page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_every_test_that_a_page_names_is_there():
    tests = "\n".join(path.read_text() for path in (PROJECT / "tests").rglob("test_*.py"))
    known = set(re.findall(r"^def (test_\w+)\(", tests, flags=re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"\btest_\w+\b(?!\.py)", prose(page))}
    assert named
    assert named <= known


@pytest.mark.parametrize("page", PAGES)
def test_every_module_that_a_page_names_is_there(page):
    files = [
        path
        for folder in ("scripts", "tests", "rules", "benchmarks", "notebooks")
        for path in (PROJECT / folder).rglob("*.*")
    ]
    named = {name for name in CODE.findall(prose(page)) if re.fullmatch(r"[a-z_/]+\.(py|smk)", name)}
    assert {name for name in named if not any(str(file).endswith(f"/{name}") for file in files)} == set()


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/method/")])
def test_math_is_what_github_and_a_site_render_alike(page):
    """A backslash before punctuation is eaten by Markdown before the mathematics are read."""
    text = CODE.sub("", prose(page))
    assert text.count("$") % 2 == 0
    assert [part for part in MATH.findall(text) if re.search(r"\\[^A-Za-z]|\|", part)] == []


def test_what_the_code_cites_is_on_the_pages():
    cited = 0
    for path in [*(PROJECT / "scripts").rglob("*.py"), *(PROJECT / "tests").rglob("*.py")]:
        text = re.sub(r"\s+", " ", path.read_text())
        for page, titles in re.findall(r'(docs/method/\w+\.md)((?:,? (?:and )?"[^"]+")*)', text):
            assert (PROJECT / page).exists(), path
            headings = re.findall(r"^#+ (.+)$", (PROJECT / page).read_text(), flags=re.MULTILINE)
            assert set(re.findall(r'"([^"]+)"', titles)) <= set(headings), path
            cited += 1
    assert cited > 10


def test_each_package_imports_only_packages_above_it_on_the_page_of_architecture():
    text = (PROJECT / "docs/architecture.md").read_text()
    ladder = re.findall(r"^\| `(\w+)/` \| .* \| `(rules/\w+\.smk)` \|$", text, flags=re.MULTILINE)
    packages = [package for package, _ in ladder]
    library = PROJECT / "scripts/triaxis"
    assert sorted(packages) == sorted(path.parent.name for path in library.glob("*/__init__.py"))
    own = {rules for _, rules in ladder} | {"rules/library.smk"}  # where the ladder itself comes from
    assert own == {f"rules/{path.name}" for path in (PROJECT / "rules").glob("*.smk")}
    for path in library.glob("*/*.py"):
        imported = re.findall(r"^\s*(?:from|import) triaxis(?:\.| import )(\w+)", path.read_text(), flags=re.MULTILINE)
        allowed = packages[: packages.index(path.parent.name) + 1]
        allowed += ["report"] if path.name == "figures.py" else []
        assert set(imported) <= set(allowed), path


def test_a_figure_is_a_function_a_row_and_a_caption():
    """The three files that CONTRIBUTING.md names."""
    figures = {
        (path.stem, name)
        for path in (PROJECT / "rules").glob("*.smk")
        for name in re.findall(r'^ +"(\w+)": Figure\(', path.read_text(), flags=re.MULTILINE)
    }
    assert {("mechanism", "pairs"), ("fit", "heads")} <= figures
    for experiment, name in figures:
        assert (PROJECT / f"report/{name}.rst").exists(), name
        code = (PROJECT / f"scripts/triaxis/{experiment}/figures.py").read_text()
        assert f"\ndef {name}(" in code, (experiment, name)


def test_every_table_of_the_report_has_a_caption_and_every_caption_a_table():
    """A dictionary `tables` of an experiment names them; it may hold others, of tables that not every run has."""
    named = set()
    for path in (PROJECT / "rules").glob("*.smk"):
        for block in re.findall(r'^ +(?:tables=|"tables": )(\{.*?\})(?: if .*)?,$', path.read_text(), re.M | re.S):
            named |= set(re.findall(r'"(\w+)": "', block))
    assert {"headline", "prefixes", "tasks", "training_loss", "length_costs"} <= named
    assert named == {path.stem.removesuffix("_table") for path in (PROJECT / "report").glob("*_table.rst")}


def test_the_page_of_files_is_what_the_schemas_say():
    text = files_page.PAGE.read_text()
    assert files_page.page(text) == text, "run `make facts`"


def test_every_column_has_a_meaning():
    found = files_page.stages()
    assert {"fits", "features", "length/sequences", "plain"} <= found.keys()
    bare = [
        (stage, column) for stage, (_, _, columns) in found.items() for column, _, meaning in columns if not meaning
    ]
    assert bare == []


def test_every_schema_is_a_stage_of_the_page():
    """A schema without the comment above it would be left out without a word."""
    for module in files_page.MODULES:
        own = files_page.Commented(module)
        schemas = {name for name in own.nodes if name.isupper() or name.endswith("_schema")}
        lists = {taken for name in schemas for taken in own.starred(name)}
        assert {name for name in schemas - lists if ".parquet: " not in own.above(name)} == set(), module
    modules = {f"{path.parent.name}.schema" for path in (PROJECT / "scripts/triaxis").glob("*/schema.py")}
    assert modules <= set(files_page.MODULES)


@pytest.mark.parametrize(
    ("length", "seed"), [(16, 0), (16, 7), (17, 163), (24, 3), (64, 1), (65, 0), (100, 5), (256, 0)]
)
def test_the_page_draws_the_groups_that_the_fit_draws(length, seed):
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", (PROJECT / "docs/method/fit.md").read_text(), re.DOTALL | re.MULTILINE
    )
    names: dict = {}
    exec(code, names)
    groups = draw_groups(length, seed)
    for found, expected in zip(names["draw_groups"](length, seed), (groups.query, groups.key), strict=True):
        np.testing.assert_array_equal(found, expected)
