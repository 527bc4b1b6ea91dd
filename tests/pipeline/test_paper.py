"""The paper of a real run: every experiment's section, with the numbers of its table."""

import json

from pypdf import PdfReader

from unit.report.test_paper import interval, rounded, rows, text_of


def test_the_paper_of_a_run_holds_its_tables_and_is_in_the_manifest(finished):
    results = finished.folder / "results"
    text, tables = text_of(results / "paper.pdf"), results / "tables"
    assert "results/paper.pdf" in finished.digests()
    for row in rows("headline", tables):
        assert f"{row['model']} {interval(row, 'mean_r')} {interval(row, 'pooled_r')}" in text
    for row in rows("mechanism", tables):
        assert f"{row['model']} {interval(row, 'mean_r_additive')} {interval(row, 'mean_key_independence')}" in text
    for row in rows("surgery", tables):
        assert f"{row['model']} {row['variant']} {row['sequences']} {rounded(row['loss'])}" in text
    for row in rows("length", tables):
        method = row["method"].replace("_", "-")
        assert f"{method} {row['length']} {row['training_length']} {row['sequences']} {rounded(row['loss'])}" in text
    for row in rows("tolerance", tables):
        assert rounded(row["ratio"]) in text


def test_the_paper_shows_the_figures_of_the_run_and_no_times(finished):
    facts = json.loads((finished.folder / "results/paper.json").read_text())
    made = ["fit", "mechanism", "heads", "length", "surgery", "tolerance"]
    assert [own["name"] for own in facts["experiments"]] == made
    assert "length_costs" not in facts["tables"]
    shown = [figure["name"] for own in facts["experiments"] for figure in own["figures"]]
    text = text_of(finished.folder / "results/paper.pdf")
    assert len(shown) == 24 and "length_costs" not in shown
    captions = [part for own in facts["experiments"] for figure in own["figures"] for part in figure["files"]]
    assert f"Figure {len(captions)}:" in text and f"Figure {len(captions) + 1}:" not in text


def test_the_paper_has_no_date(finished):
    metadata = PdfReader(finished.folder / "results/paper.pdf").metadata
    assert not {"/CreationDate", "/ModDate"} & metadata.keys()
