"""Captions of report/*.rst, in pieces that the paper and the pages of the report set each in their own way."""

from docutils import nodes
from docutils.core import publish_doctree
from jinja2 import Environment, StrictUndefined

# What marks a word in a caption, and what paper/lib.typ calls it.
STYLES: dict[type[nodes.Node], str] = {
    nodes.subscript: "sub",
    nodes.superscript: "super",
    nodes.emphasis: "emph",
    nodes.strong: "strong",
    nodes.literal: "raw",
}


def pieces(caption: str, model: str | None) -> list[tuple[str, str]]:
    """A caption of report/ as [(style, text)].

    caption: reStructuredText of plain paragraphs, in which Jinja may name the model of its figure, as Snakemake's
    report has it: snakemake.wildcards.model.
    """
    named = {"wildcards": {"model": model}}
    text = Environment(undefined=StrictUndefined).from_string(caption).render(snakemake=named)
    document = publish_doctree(text, settings_overrides={"report_level": 5, "halt_level": 5})
    found: list[tuple[str, str]] = []
    for paragraph in document.findall(nodes.paragraph):
        found += [("plain", " ")] if found else []
        for node in paragraph.findall(nodes.Text):
            found.append((STYLES.get(type(node.parent), "plain"), node.astext().replace("\n", " ")))
    return found
