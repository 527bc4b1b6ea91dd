"""Pages of the report: a table or a figure with its caption, to be read in place, each one file without scripts."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from triaxis.report.captions import pieces
from triaxis.report.cells import Row, cells_of

# A page of a table of any size stays small: what is more is in the table's file.
MOST_CELLS = 10_000
# Snakemake's report shows a page by its data URI, in base64, and Chromium opens none of more than 2 MiB.
MOST_BYTES = 1_500_000

STYLE = """
body {font: 15px/1.45 system-ui, sans-serif; color: #1e293b; margin: 1.2rem 1.6rem}
h1 {font-size: 1.25rem; margin: 0 0 .6rem}
p {max-width: 60rem; margin: .7rem 0}
figure {margin: 0}
figure svg, figure img {max-width: 100%; height: auto}
table {border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px}
th, td {padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #e2e8f0; white-space: nowrap}
th {position: sticky; top: 0; background: #f1f5f9}
th:first-child, td:first-child {position: sticky; left: 0; background: #f1f5f9}
th:first-child {z-index: 1}
.number {text-align: right}
tbody tr:hover td {background: #f8fafc}
.files {color: #64748b; font-size: 13px}
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<h1>{{ title }}</h1>
{{ body }}
</body>
</html>
"""

TABLE = """<p>{{ caption }}</p>
<p class="files">{{ told }}</p>
{% if rows %}
<table>
<thead><tr>{% for head in heads %}<th{{ kinds[loop.index0] }}>{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr>{% for cell in row %}<td{{ kinds[loop.index0] }}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
{% endif %}
"""

FIGURE = """<figure>
{% if picture %}
{{ picture }}
{% endif %}
<figcaption><p>{{ caption }}</p></figcaption>
</figure>
<p class="files">{{ told }}</p>
"""

ENVIRONMENT = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
# What marks a word in a caption, and its element; what is plain has none.
ELEMENTS = {"sub": "sub", "super": "sup", "emph": "em", "strong": "strong", "raw": "code"}


def render(template: str, **values: object) -> Markup:
    """A template of HTML, with what is text in `values` escaped."""
    return Markup(ENVIRONMENT.from_string(template).render(values))


def page(title: str, body: Markup) -> str:
    """A whole page; title: text."""
    return render(PAGE, title=title, style=Markup(STYLE), body=body)


def caption_html(caption: str, model: str | None) -> Markup:
    """A caption of report/, as `pieces` reads it."""
    parts = (
        Markup(f"<{ELEMENTS[style]}>{escape(text)}</{ELEMENTS[style]}>") if style in ELEMENTS else escape(text)
        for style, text in pieces(caption, model)
    )
    return Markup("").join(parts)


def table_page(title: str, caption: Markup, file: str, rows: Sequence[Row]) -> str:
    """The page of a CSV table; file: where it lies, to be named; rows: all of it."""
    if not rows:
        return page(title, render(TABLE, caption=caption, rows=[], told=f"{file} has no rows."))
    cells = cells_of(rows)
    shown = cells.rows[: max(1, MOST_CELLS // len(cells.heads))]
    same = ", ".join(f"{head} {text}" for head, text in cells.common)
    which = "" if len(shown) == len(cells.rows) else f"The first {len(shown):,} of {len(cells.rows):,} rows. "
    told = f"{which}Numbers are rounded; as they were computed, they are in {file}."
    told += f" The same in all rows: {same}." if same else ""
    kinds = [Markup(' class="number"') if numbers else "" for numbers in cells.numbers]
    body = render(TABLE, caption=caption, heads=cells.heads, rows=shown, kinds=kinds, told=told)
    return page(title, body)


def figure_page(title: str, caption: Markup, file: str, pictures: Sequence[Path]) -> str:
    """The page of a figure; file: where it lies, to be named; pictures: SVG or PNG, of which the first is shown that is
    small enough for a page, if need be in 256 colours."""
    files = f"{file.removesuffix(Path(file).suffix)}.pdf, .svg and .png"
    for picture in (shown for path in pictures for shown in inline(path, title)):
        text = page(title, render(FIGURE, picture=picture, caption=caption, told=f"Also in {files}."))
        if len(text.encode()) <= MOST_BYTES:
            return text
    told = f"This figure is too large to be shown here. It is in {files}."
    return page(title, render(FIGURE, picture=None, caption=caption, told=told))


def inline(picture: Path, title: str) -> Iterator[Markup]:
    """A picture as HTML that needs no further file; a PNG also in 256 colours, about a third of its size."""
    if picture.suffix == ".svg":
        drawn = picture.read_text(encoding="utf-8")
        yield Markup(drawn[drawn.index("<svg") :])
    else:
        for content in (picture.read_bytes, lambda: in_few_colours(picture)):
            coded = b64encode(content()).decode()
            yield Markup(f'<img alt="{escape(title)}" src="data:image/png;base64,{coded}">')


def in_few_colours(picture: Path) -> bytes:
    """A PNG with a palette of the 256 colours that it needs most."""
    content = BytesIO()
    with Image.open(picture) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return content.getvalue()
