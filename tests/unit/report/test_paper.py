"""The paper: its text is what the tables say, and what cannot be set is one line."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from pypdf import PdfReader

from triaxis.base.config import Experiment
from triaxis.base.errors import UserError
from triaxis.report.manifest import machine
from triaxis.report.paper import require_tables, set_paper

PROJECT = Path(__file__).resolve().parents[3]
# The tables of the default run that docs/ quotes: every experiment that has one there.
KEPT = PROJECT / "docs/results"
SHOWN = ["fit", "mechanism", "surgery", "tolerance", "tasks"]


def facts(tables: list[str], experiments: list[str]) -> dict[str, Any]:
    """What compile_paper writes of the run whose tables docs/ keeps, without its figures."""
    own = json.loads((KEPT / "run.json").read_text())
    own["sources"] = {name: {"quantisation": None} | source for name, source in own["sources"].items()}
    lost = {"documents_changed": 1, "characters_lost": 1234, "share_lost": 0.1}
    return own | {
        "triaxis": "9.9",
        "git": {"commit": "0123456789abcdef", "dirty": False},
        "machine": machine(),
        "tokenizers": {"smollm2-135m": lost},
        "tables": tables,
        "experiments": [{"name": name, "figures": []} for name in experiments],
    }


def make(folder: Path, tables: Path = KEPT, experiments: list[str] = SHOWN, sources: Path = PROJECT / "paper") -> Path:
    """The paper of a folder of tables."""
    (folder / "facts.json").write_text(json.dumps(facts([path.stem for path in tables.glob("*.csv")], experiments)))
    files = {f"results/tables/{path.name}": path for path in tables.glob("*.csv")}
    set_paper(sources, files, folder / "facts.json", folder / "paper.pdf")
    return folder / "paper.pdf"


def text_of(pdf: Path) -> str:
    """A PDF's text on one line, its minus signs as a table has them."""
    text = " ".join(page.extract_text() for page in PdfReader(pdf).pages)
    return " ".join(text.replace("−", "-").replace("\u200b", "").split())


def rounded(text: str, digits: int = 3) -> str:
    if text in ("", "nan"):
        return "–"
    shown = str(Decimal(text).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
    return shown if re.search("[1-9]", shown) else shown.removeprefix("-")


def interval(row: dict[str, str], name: str, digits: int = 3) -> str:
    low, high = (rounded(row.get(f"{name}_{end}", ""), digits) for end in ("low", "high"))
    return rounded(row[name], digits) + ("" if low == "–" else f" [{low}, {high}]")


def rows(name: str, tables: Path = KEPT) -> list[dict[str, str]]:
    return list(csv.DictReader((tables / f"{name}.csv").read_text().splitlines()))


def lines_of_every_run() -> Iterator[str]:
    """Lines of the tables that every paper has, as the rows of the CSV files make them."""
    for row in rows("headline"):
        cells = [interval(row, "mean_r"), interval(row, "pooled_r")]
        cells += [rounded(row[name]) for name in ("adjusted_r2", "heldout_r", "null_r", "random_r")]
        yield " ".join([row["model"], *cells])
    for row in rows("axes"):
        cells = [rounded(row[name]) for name in ("adjusted_r2", "heldout_r", "null_r")]
        yield " ".join([row["model"], row["axes"].replace("+", " + "), interval(row, "mean_r"), *cells])
    for row in rows("mechanism"):
        names = ("r_additive", "key_independence", "distance_independence", "interaction")
        yield " ".join([row["model"], *(interval(row, f"mean_{name}") for name in names)])
        yield " ".join([row["model"], *(interval(row, f"scrambled_{name}") for name in names)])


def lines_of_experiments() -> Iterator[str]:
    """Lines of the tables of experiments that a run may leave out."""
    for row in rows("surgery"):
        yield " ".join([row["model"], row["variant"], row["sequences"], rounded(row["loss"])])
    moved = {(row["model"], row["perturbation"], row["fraction"]): interval(row, "ratio") for row in rows("tolerance")}
    for row in rows("tolerance"):
        share = f"{rounded(str(100 * Decimal(row['fraction'])), 0)} % {row['sequences']}"
        of = [moved[row["model"], kind, row["fraction"]] for kind in ("text", "position", "feature")]
        yield " ".join([row["model"], share, *of])
    for row in rows("tasks"):
        if row["perturbation"] == "text":
            yield f"{row['items']} {rounded(row['chance'], 2)} {interval(row, 'accuracy', 2)}"


def test_every_number_is_that_of_its_table(tmp_path):
    text = text_of(make(tmp_path))
    expected = [*lines_of_every_run(), *lines_of_experiments()]
    assert len(expected) > 60
    assert [line for line in expected if line not in text] == []


def test_the_paper_that_docs_link_to_has_the_numbers_of_docs():
    text = text_of(KEPT / "paper.pdf")
    assert [line for line in lines_of_every_run() if line not in text] == [], "run `make facts`"


def test_the_first_page_says_what_was_run(tmp_path):
    first = PdfReader(make(tmp_path)).pages[0].extract_text().replace("\u200b", "").replace("\n", "")
    own = facts([], [])
    sources = own["sources"]
    assert {"corpus", "smollm2-135m"} == sources.keys()
    for source in sources.values():
        assert source["source"] in first and source["revision"][:19] in first
    count, length = (own["config"]["sequences"][name] for name in ("count", "length"))
    assert f"{count} sequences of {length} tokens" in first
    assert "commit 0123456789ab" in first and own["machine"]["processor"] in " ".join(first.split())


def test_the_text_claims_no_more_than_was_run(tmp_path):
    text = text_of(make(tmp_path, experiments=["fit", "mechanism"]))
    assert "this run has none (make surgery)" in text
    assert "Perturbed order" not in text and "Surgery" not in text
    assert "do not give back 1,234 characters" in text


def test_two_papers_of_one_run_are_the_same_bytes(tmp_path):
    first = make(tmp_path).read_bytes()
    assert make(tmp_path).read_bytes() == first


def test_a_table_without_rows_is_one_line(tmp_path):
    for path in KEPT.glob("*.csv"):
        shutil.copy(path, tmp_path)
    (tmp_path / "tasks.csv").write_text((tmp_path / "tasks.csv").read_text().splitlines()[0] + "\n")
    text = text_of(make(tmp_path, tmp_path))
    assert "The table tasks.csv of this run has no rows: there is nothing to show." in text


def test_numbers_near_nothing_are_rounded_as_others_are(tmp_path):
    """As Python writes them, they have an exponent; and a zero has no sign."""
    for path in KEPT.glob("*.csv"):
        shutil.copy(path, tmp_path)
    own = rows("headline")
    own[0] |= {"scrambled_key_independence": "8.1e-05", "pooled_r": "-1e-05", "adjusted_r2": "-0.25", "null_r": "nan"}
    text = ",".join(own[0]) + "\n" + "".join(",".join(row.values()) + "\n" for row in own)
    (tmp_path / "headline.csv").write_text(text)
    text = text_of(make(tmp_path, tmp_path))
    assert "same for every key, and 0.0 % where" in text
    row = " ".join([interval(own[0], "mean_r"), f"0.000 {interval(own[0], 'pooled_r').partition(' ')[2]}", "-0.250"])
    assert f"{own[0]['model']} {row} {rounded(own[0]['heldout_r'])} –" in text


@pytest.mark.parametrize(("content", "fault"), [(None, "missing"), ("", "empty"), ("\n", "empty")])
def test_a_table_that_is_missing_or_empty_is_named(tmp_path, content, fault):
    table = tmp_path / "axes.csv"
    if content is not None:
        table.write_text(content)
    with pytest.raises(UserError, match=rf"^\S*/axes\.csv is {fault}: .*$"):
        require_tables([table])


def test_a_fault_in_the_text_is_one_line_with_its_place(tmp_path):
    shutil.copytree(PROJECT / "paper", tmp_path / "paper")
    section = tmp_path / "paper/sections/fit.typ"
    section.write_text(section.read_text() + "\n#nothere\n")
    place = rf"paper/sections/fit\.typ:{len(section.read_text().splitlines())}:\d+"
    with pytest.raises(UserError, match=rf"^the paper cannot be set: unknown variable: nothere, at {place}$"):
        make(tmp_path, sources=tmp_path / "paper")


def test_every_experiment_has_a_section():
    sections = {path.stem for path in (PROJECT / "paper/sections").glob("*.typ")}
    assert sections == {"fit", *get_args(Experiment)}
