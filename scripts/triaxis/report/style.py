"""The figures: colour-blind safe, readable in print, the same bytes on every run.

Each function takes arrays and returns a figure; `save` writes it as PDF, SVG and PNG.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from triaxis.base import files

mpl.use("Agg")

# Okabe & Ito 2008.
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F"
WIDTH = 7.0  # inches: two columns of a paper
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.0,
    "legend.frameon": False,
    "image.interpolation": "nearest",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    # Without a fixed salt and no date, two runs would differ.
    "svg.hashsalt": "triaxis",
}
plt.rcParams.update(STYLE)
UNDATED = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {}}


def save(figure: Figure, paths: Iterable[str | Path]) -> None:
    """Write `figure` to each path, in the format of its suffix, whole or not at all."""
    for path in map(Path, paths):
        with files.whole(path) as part:
            figure.savefig(part, format=path.suffix[1:], metadata=UNDATED[path.suffix])
    plt.close(figure)


def say(text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = plt.figure(figsize=(WIDTH, 1.0))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def trained_and_control(models: Sequence[str]) -> list[tuple[str, str | None]]:
    """[(model, its random control or None)] of the models as trained, in their order."""
    return [
        (model, f"{model}-random" if f"{model}-random" in models else None)
        for model in models
        if not model.endswith("-random")
    ]
