"""results/report.html: a first page that says what was run, and every table and figure to be read in place."""

import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Frame, Page, sync_playwright

from pipeline.conftest import Workspace
from triaxis.base.tables import from_csv
from triaxis.report.cells import number

CHROMIUM = shutil.which("chromium")
# Snakemake's page is built by the development kit of its style sheets, which says so.
EXPECTED = "cdn.tailwindcss.com should not be used in production"
# What a browser opens of a data URI.
MOST = 2 * 2**20


def stated(finished: Workspace, name: str) -> Any:
    """A variable of the report's own script."""
    report = (finished.folder / "results/report.html").read_text()
    found = re.search(rf'^ *var {name} = ([{{"].*);$', report, flags=re.MULTILINE)
    assert found
    return json.loads(found[1])


def test_the_first_page_has_what_was_run_and_the_headline_as_a_table(finished):
    page = stated(finished, "workflow_desc")
    trained, random = from_csv(finished.folder / "results/tables/headline.csv")
    for own in (trained, random):
        assert f'<tr><td>{own["model"]}</td><td class="number">{number(own["mean_r"])}</td>' in page
    for told in ("path:tiny-model", "path:tiny-corpus/*.txt", "4 sequences of 32 tokens", "2 layers of 4 heads"):
        assert told in page
    assert 'href="explorer.html"' in page and 'href="paper.pdf"' in page
    assert "problematic" not in page and "system-message" not in page


def test_every_table_and_figure_of_the_run_is_a_page_in_its_category(finished):
    results, categories = stated(finished, "results"), stated(finished, "categories")
    assert {own["mime_type"] for own in results.values()} == {"text/html"}
    assert max(len(own["data_uri"]) for own in results.values()) < MOST
    manifest = json.loads((finished.folder / "results/manifest.json").read_text())
    drawn = {file.partition(".")[0] for file in manifest["artefacts"] if file.startswith("results/figures/")}
    pages = {file.removesuffix(".html").replace("/pages/", "/figures/") for file in results}
    assert drawn <= pages
    assert not [page for page in (finished.folder / "results/pages").iterdir() if "<p></p>" in page.read_text()]
    for table in ("headline", "axes", "mechanism", "heads", "surgery_bands", "tolerance", "length", "length_costs"):
        assert f"results/pages/{table}_table.html" in results
    assert sorted(categories) == [
        *("0. This run", "1. Three-axis fit", "2. Mechanism", "3. Heads", "4. Surgery", "5. Tolerance", "7. Length")
    ]
    for name, (files,) in ((name, own.values()) for name, own in categories.items() if name != "0. This run"):
        first = min(files, key=lambda file: results[file]["labels"]["result"])
        assert first.endswith("_table.html"), name


def test_the_pages_are_of_no_manifest_and_the_same_every_time(copy_of_finished):
    pages = copy_of_finished.folder / "results/pages"
    before = {page.name: page.read_bytes() for page in pages.iterdir()}
    assert not [file for file in copy_of_finished.digests() if "/pages/" in file]
    shutil.rmtree(pages)
    assert copy_of_finished.run("results/pages/summary.html").status == 0
    assert {page.name: page.read_bytes() for page in pages.iterdir()} == before


@pytest.fixture
def opened(finished: Workspace) -> Iterator[tuple[Page, list[str]]]:
    """The report in a browser without a network, and what that complained of."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    complaints: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_context(offline=True, viewport={"width": 1440, "height": 900}).new_page()
        tab.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto((finished.folder / "results/report.html").as_uri())
        tab.wait_for_selector(".run table")
        yield tab, complaints
        browser.close()


def shown(tab: Page, title: str) -> Frame:
    """The page that the report shows, once its title is this."""
    tab.wait_for_selector("iframe")
    frame = tab.frames[-1]
    frame.wait_for_selector(f"h1:text-is('{title}')")
    return frame


def test_a_browser_shows_tables_and_figures_in_place(opened):
    tab, complaints = opened
    assert tab.locator(".run table.headline tbody tr").count() == 3
    assert tab.locator(".run").bounding_box()["y"] > 0  # Nothing of it lies above the window.
    tab.locator(".prose a", has_text="headline (table)").click()
    assert "mean_r" in shown(tab, "headline").inner_text("table")
    entries = tab.locator("nav table tbody tr")
    assert entries.first.inner_text().strip() == "1. headline (table)"
    entries.nth(1).locator("a").first.click()
    figure = shown(tab, "r by layer and head")
    drawn, caption = figure.locator("figure svg").bounding_box(), figure.locator("figcaption").bounding_box()
    assert drawn["y"] + drawn["height"] <= caption["y"]
    assert [said for said in complaints if not said.startswith(EXPECTED)] == []
