"""Captions: every one is read whole, with its model's name, its marks and nothing else."""

import re
from pathlib import Path

import pytest

from triaxis.report.captions import pieces

PROJECT = Path(__file__).resolve().parents[3]
# All but what opens the report.
CAPTIONS = sorted(set((PROJECT / "report").glob("*.rst")) - {PROJECT / "report/workflow.rst"})


@pytest.mark.parametrize("caption", CAPTIONS, ids=lambda path: path.stem)
def test_every_caption_is_read_whole(caption):
    text = "".join(piece for _, piece in pieces(caption.read_text(), "own"))
    assert len(text) > 40 and not re.search(r":sub:|\{\{|``|\*\w", text)


def test_a_caption_has_its_models_name_and_its_subscripts():
    caption = "Of {{ snakemake.wildcards.model }}: a\\ :sub:`d`\\ , the\nmean."
    assert pieces(caption, "tiny") == [("plain", "Of tiny: a"), ("sub", "d"), ("plain", ", the mean.")]
