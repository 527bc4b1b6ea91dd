"""The figures: colour-blind safe, readable in print, the same bytes on every run.

Each function takes arrays and returns a figure; `save` writes it as PDF, SVG and PNG.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, TwoSlopeNorm
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
PAGE = 8.6  # inches: as high as a figure may be, so that its caption is on its page
LEAST = 0.8  # inches: panels that would be less high stand beside each other
# As many models as have these get them.
FEW = (BLUE, ORANGE, GREEN, VERMILION, "#CC79A7", "#56B4E9", "#000000")
# Nearly all heads of trained models have an r above this. One scale for all figures, whatever one layer does.
TRAINED = 0.65
GREYS, SHADES = mpl.colormaps["gray"](np.linspace(0.35, 0.88, 256)), mpl.colormaps["viridis"](np.linspace(0, 1, 256))
MAP = ListedColormap([*GREYS, *SHADES])
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


def panel_grid(
    models: int,
    wide: int,
    height: float,
    above: float = 0.5,
    share_x: str | None = None,
    share_y: str | None = None,
    least: float = LEAST,
) -> tuple[Figure, NDArray]:
    """A figure and its panels (models, wide), at most PAGE high: a row a model, `height` inches, and several models in
    a row where rows would be less than `least` high.

    above: inches of what stands above or below the panels; share_x, share_y: "model" for one scale over the panels of
    a model, "all" for one over all. Names of shared scales stand at the edge.
    """
    across = next(
        n for n in range(1, models + 1) if -(-models // n) * min(least, height) + above <= PAGE or n == models
    )
    rows = -(-models // across)
    height = min(height, (PAGE - above) / rows)
    figure = plt.figure(figsize=(WIDTH, min(PAGE, rows * height + above)))
    grid = figure.add_gridspec(rows, across * wide)
    panels = np.empty((models, wide), dtype=object)
    for model, place in np.ndindex(models, wide):
        row, column = divmod(model, across)
        with_all, with_own = panels[0, 0], panels[model, 0]
        panel = figure.add_subplot(
            grid[row, column * wide + place],
            sharex={"all": with_all, "model": with_own}.get(share_x or ""),
            sharey={"all": with_all, "model": with_own}.get(share_y or ""),
        )
        small = height < 1.3 or across * wide > 3
        panel.tick_params(labelsize=6 if small else 8)
        if share_y and (place or (column and share_y == "all")):
            panel.tick_params(labelleft=False)
        if share_x and model + across < models:
            panel.tick_params(labelbottom=False)
        panels[model, place] = panel
    return figure, panels


def title(panel: Axes, text: str, most: float = 8) -> None:
    """Set the title of a panel, in letters that let it fit above: at most `most` points, at least 4.5, and of one size
    in a figure."""
    figure: Any = panel.figure
    width = panel.get_position().width * figure.get_figwidth()
    size = float(np.clip(72 * width / (0.55 * max(map(len, text.split("\n")))), 4.5, most))
    others = [own.title for own in figure.axes if own.get_title()]
    size = min([size, *(float(other.get_fontsize()) for other in others)])
    panel.set_title(text, pad=3)
    for own in (panel.title, *others):
        own.set_fontsize(size)


def name_row(row: Sequence[Axes], text: str) -> None:
    """Name the panels of one model, above the first of them and over the others."""
    figure: Any = row[0].figure
    width = 72 * sum(panel.get_position().width for panel in row) * figure.get_figwidth()
    size = float(np.clip(width / (0.55 * len(text)), 4.5, 8))
    # A blank title keeps the height: for the name itself, the layout would widen the first panel.
    row[0].set_title(" ", pad=3, fontsize=size)
    look: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
    row[0].annotate(text, (0, 1), (0, 3), fontsize=size, **look).set_in_layout(False)


def legend_above(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """A legend above all panels, in as many columns as there is width for; the figure grows by its rows."""
    each = 4.3 * max(map(len, labels)) + 34  # points: an entry of 8 point letters and its mark
    columns = int(np.clip(72 * figure.get_figwidth() // each, 1, len(labels)))
    figure.set_figheight(min(PAGE, figure.get_figheight() + 0.16 * -(-len(labels) // columns)))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)


def colours(count: int) -> list[str]:
    """So many colours that differ: those of Okabe & Ito for a few, and the hues of the rainbow for more."""
    if count <= len(FEW):
        return list(FEW[:count])
    return [mpl.colors.to_hex(colour) for colour in mpl.colormaps["turbo"](np.linspace(0.02, 0.98, count))]


def colour_of(models: Sequence[str]) -> dict[str, str]:
    """model -> its colour; a control has that of the first model that it is the control of."""
    trained = [model for model in models if not is_control(model)] or list(models)
    found = dict(zip(trained, colours(len(trained)), strict=True))
    of_control = {control_of(model): colour for model, colour in reversed(found.items())}
    return {model: found.get(model) or of_control.get(model, GREY) for model in models}


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


def draw_map(panel: Axes, values: Array) -> None:
    """A measure between 0 and 1 by layer and head, (layers, heads), on the one scale of such maps: trained heads lie
    above TRAINED, in blue to yellow; what lies below is grey. A head without a value (NaN) is left white."""
    panel.imshow(values.T, norm=TwoSlopeNorm(TRAINED, 0, 1), cmap=MAP, aspect="auto")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def name_map(figure: Figure, panels: NDArray, label: str) -> None:
    """The bar of the scale of `draw_map`, beside the panels."""
    image = next(image for panel in panels.flat for image in panel.images)
    label = f"{label}\n(grey: below {TRAINED:g})"
    height = figure.get_figheight()
    bar = figure.colorbar(image, ax=panels, label=label, shrink=min(1, 3 / height), aspect=min(3, height) * 7, pad=0.01)
    bar.set_ticks([0, 0.25, 0.5, TRAINED, 0.8, 0.9, 1])


def plot_by_head(r: Mapping[str, Array], label: str) -> Figure:
    """A correlation by layer and head as heat maps; r: model -> (layers, heads), trained beside random, one scale."""
    pairs = trained_and_control(list(r))
    figure, panels = panel_grid(len(pairs), 2, 1.75, share_x="model", share_y="model")
    for panel, model in filled(panels, pairs):
        draw_map(panel, r[model])
        mean = finite_mean(r[model])
        title(panel, f"{model}   mean {mean:.3f}" if np.isfinite(mean) else f"{model}   no values")
    figure.supxlabel("layer", fontsize=8)
    figure.supylabel("head", fontsize=8)
    name_map(figure, panels, label)
    return figure
