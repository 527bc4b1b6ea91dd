"""Pages of the report: they are read in place, no text can break them, and none is too large to be opened."""

import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from triaxis.base.tables import from_csv
from triaxis.report.pages import MOST_BYTES, MOST_CELLS, caption_html, figure_page, table_page

PROJECT = Path(__file__).resolve().parents[3]
TABLES = sorted((PROJECT / "docs/results").glob("**/*.csv"))
CAPTION = Markup("What it is.")


class Reader(HTMLParser):
    """The cells of a page's table, row by row, and the elements that are open at its end."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += text


@pytest.mark.parametrize("table", TABLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_table_is_a_page_of_rows_of_one_width(table):
    page = table_page(table.stem, CAPTION, f"results/tables/{table.name}", from_csv(table))
    reader = Reader(page)
    assert reader.open == [] and len({len(row) for row in reader.rows}) == 1 and len(reader.rows) > 1
    assert f"results/tables/{table.name}" in page and "nan" not in {cell for row in reader.rows for cell in row}
    assert table_page(table.stem, CAPTION, f"results/tables/{table.name}", from_csv(table)) == page


def test_no_text_of_a_table_is_markup():
    rows = [{"task": "<script>alert(1)</script>", "a&b": place} for place in range(5)]
    page = table_page("<b>", CAPTION, "results/tables/a.csv", rows)
    assert "<script" not in page and "<b>" not in page
    assert Reader(page).rows[0] == ["task", "a&b"] and Reader(page).rows[1] == ["<script>alert(1)</script>", "0"]


def test_a_long_table_is_cut_and_says_so():
    rows = [{"name": f"n{place}", "value": place} for place in range(MOST_CELLS)]
    page = table_page("long", CAPTION, "results/tables/long.csv", rows)
    assert f"The first {MOST_CELLS // 2:,} of {MOST_CELLS:,} rows." in page
    assert len(Reader(page).rows) == 1 + MOST_CELLS // 2


def test_a_table_without_rows_says_so():
    page = table_page("none", CAPTION, "results/tables/none.csv", [])
    assert "results/tables/none.csv has no rows." in page and Reader(page).rows == []


def test_a_caption_is_marked_as_in_its_file():
    html = caption_html("Of {{ snakemake.wildcards.model }}: W\\ :sub:`ij` < *c*, R\\ :sup:`2`, ``x``.", "m<n")
    assert html == "Of m&lt;n: W<sub>ij</sub> &lt; <em>c</em>, R<sup>2</sup>, <code>x</code>."


def svg(folder: Path, size: int = 10) -> Path:
    path = folder / "figure.svg"
    path.write_text(f'<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg viewBox="0 0 1 1"><!--{"x" * size}--></svg>')
    return path


def png(folder: Path, side: int = 4) -> Path:
    """Noise, which no compression makes smaller: 3 bytes a pixel, or 1 in 256 colours."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    path = folder / "figure.png"
    Image.fromarray(noise).save(path)
    return path


def shown(page: str) -> Image.Image:
    coded = re.search(r'src="data:image/png;base64,([^"]*)"', page)[1]
    return Image.open(BytesIO(b64decode(coded)))


def test_a_figure_has_its_caption_under_it(tmp_path):
    page = figure_page("a figure", CAPTION, "results/figures/figure.svg", [svg(tmp_path), png(tmp_path)])
    assert page.index("<svg viewBox") < page.index("What it is.") and "<?xml" not in page and "<img" not in page
    assert "Also in results/figures/figure.pdf, .svg and .png." in page


def test_what_is_too_large_is_shown_as_an_image_then_in_few_colours_then_not_at_all(tmp_path):
    large = svg(tmp_path, MOST_BYTES)
    page = figure_page('"a" figure', CAPTION, "results/figures/figure.svg", [large, png(tmp_path)])
    assert "<svg" not in page and '<img alt="&#34;a&#34; figure" src="data:image/png;base64,' in page
    assert shown(page).mode == "RGB"
    page = figure_page("a figure", CAPTION, "results/figures/figure.svg", [large, png(tmp_path, 700)])
    assert shown(page).mode == "P" and shown(page).size == (700, 700) and len(page) <= MOST_BYTES
    page = figure_page("a figure", CAPTION, "results/figures/figure.svg", [large, png(tmp_path, 1300)])
    assert "<img" not in page and "too large to be shown here" in page and "What it is." in page
    assert len(page) < 10_000
