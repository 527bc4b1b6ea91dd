"""The figures: colour-blind safe, readable in print, the same bytes on every run.

Each function takes arrays and returns a figure; `save` writes it as PDF, SVG and PNG.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from triaxis.base import files
from triaxis.base.names import control_of, is_control
from triaxis.base.stats import finite_mean

mpl.use("Agg")

Array = NDArray[np.floating]

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
        (model, control_of(model) if control_of(model) in models else None) for model in models if not is_control(model)
    ]


def filled(panels: NDArray, pairs: Sequence[tuple[str, str | None]]) -> Iterator[tuple[Axes, str]]:
    """(panel, model) of a grid of panels with a row a (model, control); the place of a missing control stays empty."""
    for row, pair in zip(panels, pairs, strict=True):
        for panel, model in zip(row, pair, strict=True):
            if model is None:
                panel.set_axis_off()
            else:
                yield panel, model


def count_axis(panel: Axes, name: str) -> None:
    """Name an x axis of layers or heads: its ticks are whole numbers."""
    panel.set_xlabel(name)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def plot_by_head(r: Mapping[str, Array], label: str) -> Figure:
    """A correlation by layer and head as heat maps; r: model -> (layers, heads), trained beside random, one scale.

    A head without a value (NaN) is left white.
    """
    pairs = trained_and_control(list(r))
    known = np.concatenate([values[np.isfinite(values)] for values in r.values()])
    low = float(np.floor(10 * known.min(initial=1)) / 10)
    height = 0.5 + 1.75 * len(pairs)
    figure, panels = plt.subplots(len(pairs), 2, figsize=(WIDTH, height), squeeze=False, sharey="row")
    for panel, model in filled(panels, pairs):
        image = panel.imshow(r[model].T, vmin=low, vmax=1, cmap="cividis", aspect="auto")
        mean = finite_mean(r[model])
        panel.set_title(f"{model}   mean {mean:.3f}" if np.isfinite(mean) else f"{model}   no values")
        count_axis(panel, "layer")
    for row in panels:
        row[0].set_ylabel("head")
    figure.colorbar(image, ax=panels, label=label, shrink=0.9, pad=0.01)
    return figure
