"""Prose and tables: every measured number of README.md and docs/ is what the committed tables give."""

import csv
import json
import re

import pytest
import yaml

from triaxis.base.errors import UserError
from triaxis.report.facts import BLOCK, TABLES, Facts, claim, copy_run, fixed, interval, percent, reflow, step
from write_facts import PROJECT, TEMPLATES, facts_of, pages
from write_facts import TABLES as COMMITTED

# A number that only a run can have given: three decimals or more, or any decimal as a percentage, in nats, in logits,
# or as an r. Versions (0.4.13), arXiv's numbers (2503.13305) and thresholds (0.001) are none; nor is what stands in
# code or an address.
NO_MEASURE = r"(?<![\w.:/])(?!\d{4}\.\d{4,5}\b|0\.0+1\b)"
MEASURED = re.compile(NO_MEASURE + r"\d+(?:\.\d{3,}\b(?!\.\d)|\.\d+(?= ?%| nats\b| logits\b))|\br (?:of |is )?\d\.\d+")
UNREAD = re.compile(
    r"```.*?```|`[^`\n]*`|\]\([^)\n]*\)|^    [^\n]*$|<!-- facts: .*?<!-- /facts -->", re.DOTALL | re.MULTILINE
)
# What others report of the paper: docs/method/fit.md says who.
QUOTED = {"0.959", "0.8650"}


def typed_numbers(page: str) -> list[str]:
    """The measured numbers that a page holds outside its blocks, code and addresses."""
    return [found for found in MEASURED.findall(UNREAD.sub("", page)) if found not in QUOTED]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_prose_is_what_the_tables_give(page):
    text = page.read_text()
    assert facts_of(page).fill(text) == text, "run `make facts`"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_no_measured_number_is_typed_by_hand(page):
    assert typed_numbers(page.read_text()) == [], "move it into report/facts/, where tables give it"


def test_a_typed_number_is_found_and_a_definition_is_none():
    typed = "a mean r of 0.887, 5.8 % of it, 0.16 nats a token, r 0.97, 1.13 logits"
    assert typed_numbers(typed) == ["r of 0.887", "5.8", "0.16", "r 0.97", "1.13"]
    none = "arXiv 2503.13305 and 0907.4698, torch 2.13.0, 95 %, 8,192 tokens, p = 0.05, 0.001, [x](a/0.123)"
    assert typed_numbers(none) == []
    assert typed_numbers("`0.123`\n\n    0.123\n\n```\n0.123\n```\n<!-- facts: a -->\n0.123\n<!-- /facts -->\n") == []


@pytest.mark.parametrize("caption", sorted((PROJECT / "report").glob("*.rst")), ids=lambda path: path.stem)
def test_a_caption_says_what_is_drawn_for_any_model(caption):
    text = caption.read_text()
    assert typed_numbers(text) == []
    assert not re.search(r"smollm|llama|default run|0\.959", text, re.IGNORECASE)


def test_every_template_is_on_a_page():
    used = {name for page in pages() for _, name, _ in BLOCK.findall(page.read_text())}
    assert used == {path.stem for path in TEMPLATES.glob("*.md")}


def test_the_committed_tables_are_of_the_default_configuration():
    default = yaml.safe_load((PROJECT / "config.yaml").read_text())
    run = json.loads((COMMITTED / "run.json").read_text())["config"]
    assert run["sequences"] == default["sequences"]
    assert run["corpus"]["source"] == default["corpus"]["source"]
    sources = [{name: model["source"] for name, model in config["models"].items()} for config in (run, default)]
    assert sources[0] == sources[1]


# A change of a table is seen


HEADLINE = "model,weights,sequences,mean_r,mean_r_low,mean_r_high\nm,trained,8,0.887054,0.88,0.893\n7,random,4,0.5,,\n"


@pytest.fixture
def facts(tmp_path):
    """Facts of a small table and of one template, whose text is given."""

    def make(template: str) -> Facts:
        (tmp_path / "headline.csv").write_text(HEADLINE)
        (tmp_path / "run.json").write_text('{"config": {"models": {"m": {}}}}')
        (tmp_path / "own.md").write_text(template)
        return Facts(tmp_path, tmp_path)

    return make


PAGE = "Before 1.\n<!-- facts: own -->\nold\n<!-- /facts -->\nAfter.\n"


def test_a_block_is_written_from_the_tables_and_the_rest_stays(facts, tmp_path):
    template = 'r is {{ interval(row("headline", model=model), "mean_r") }}.'
    written = facts(template).fill(PAGE)
    assert written == PAGE.replace("old", "\nr is 0.887 [0.880, 0.893].\n")
    assert facts(template).fill(written) == written
    other = facts(template)
    other.tables["headline"][0]["mean_r"] = 0.9
    assert other.fill(written) != written


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ('{{ row("headline", model=model).gone|fixed }}', "has no attribute 'gone'"),
        ('{{ row("gone", model=model).mean_r }}', "gone.csv is none of the tables"),
        ('{{ row("headline", model="other").mean_r }}', "has 0 rows"),
        ('{{ row("headline", gone=1).mean_r }}', "has no column 'gone'"),
        ('{{ row("headline", model="7").mean_r_low|fixed }}', "missing"),
        ('{{ claim(row("headline", model="7").mean_r > 0.6, "it is high") }}', "refute 'it is high'"),
        ("{% if %}", "own.md"),
    ],
)
def test_what_the_tables_do_not_give_is_an_error_that_names_the_template(facts, template, message):
    with pytest.raises(UserError, match=re.escape(message)) as error:
        facts(template).fill(PAGE)
    assert "own.md" in str(error.value)


def test_a_block_says_that_its_experiment_was_not_run(facts):
    assert "no table `surgery.csv`" in facts('{{ row("surgery", model=model).loss|fixed }}').fill(PAGE)


def test_a_page_that_names_no_template_is_refused(facts):
    with pytest.raises(UserError, match=r"other\.md does not exist"):
        facts("").fill(PAGE.replace("own", "other"))


# How numbers are written


def test_numbers_are_rounded_and_signs_are_minus_signs():
    assert step(1200.0) == "1,200" and step(float("nan")) == "not by the end"
    assert fixed(0.88749) == "0.887" and fixed(-1.25, 1) == "−1.2" and fixed(1234.5, 1) == "1,234.5"
    assert percent(0.0579) == "5.8 %" and percent(0.1, 0) == "10 %"


def test_few_sequences_have_no_interval():
    row = {"sequences": 4, "r": 0.5, "r_low": 0.4, "r_high": 0.6}
    assert interval(row, "r") == "0.500"
    assert interval(row | {"sequences": 5}, "r") == "0.500 [0.400, 0.600]"


def test_a_claim_that_holds_writes_nothing():
    assert claim(True, "so it is") == ""


def test_paragraphs_are_wrapped_and_tables_are_not():
    words = "word " * 40
    lines = reflow(f"{words}\n\n| {words} |\n|---|\n\n- {words}\n- {words}").splitlines()
    assert max(len(line) for line in lines if not line.startswith("|")) <= 100
    assert any(line.startswith("|") and len(line) > 100 for line in lines)
    assert sum(line.startswith("- ") for line in lines) == 2


# Copying a run


def make_run(folder, leave_out=""):
    (folder / "tables").mkdir(parents=True)
    for name in TABLES:
        (folder / f"tables/{name}.csv").write_text("model,count,r,none\n7.25,3,0.12345678901,\na,4,1e-07,\n")
    made = {f"results/tables/{name}.csv": {} for name in TABLES if name != leave_out}
    content = {"artefacts": made, "config": {"a": 1}, "sources": {}, "models": {}, "packages": {}, "git": {}}
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


def test_a_run_is_copied_with_six_decimals(tmp_path):
    copy_run(make_run(tmp_path / "run"), tmp_path / "docs")
    with (tmp_path / "docs/length.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows == [["model", "count", "r", "none"], ["7.25", "3", "0.123457", ""], ["a", "4", "0.000000", ""]]
    assert "git" not in json.loads((tmp_path / "docs/run.json").read_text())


def test_a_table_of_another_run_is_not_copied_and_goes(tmp_path):
    copy_run(make_run(tmp_path / "run"), tmp_path / "docs")
    copy_run(make_run(tmp_path / "smaller", leave_out="surgery"), tmp_path / "docs")
    assert not (tmp_path / "docs/surgery.csv").exists() and (tmp_path / "docs/length.csv").exists()
