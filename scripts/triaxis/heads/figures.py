"""The figures of heads: what each is called, and what its interaction goes with."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from triaxis.base import query, tables
from triaxis.base.query import Columns
from triaxis.base.stats import interval, mean
from triaxis.heads.classes import CLASSES, ROLES
from triaxis.heads.summary import heads_of
from triaxis.report.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILION,
    WIDTH,
    count_axis,
    filled,
    panel_grid,
    say,
    title,
    trained_and_control,
)

COLOURS = dict(zip(CLASSES, (BLUE, GREEN, ORANGE, VERMILION, "#DDDDDD"), strict=True))
LETTERS = dict(zip(ROLES, "PDI", strict=True))
SMALLEST = 2.5  # points of a letter
NAMES = {
    "interaction_share": "interaction share",
    "f_share": "share of f",
    "g_share": "share of g",
    "previous_token": "attention on the token before",
    "induction": "induction score",
    "surgery_loss": "loss of replacing it (nats a token)",
    "layer": "layer",
}
# What stands beside r_additive of the least additive heads.
SCORES = {
    "interaction_share": "interaction",
    "f_share": "f",
    "g_share": "g",
    "first_key": "first\nkey",
    "previous_token": "previous\ntoken",
    "duplicate_token": "duplicate\ntoken",
    "induction": "induction",
}
# Share of variance, and what it is held against.
PANELS = (
    *(("interaction_share", "layer"), ("interaction_share", "previous_token"), ("interaction_share", "induction")),
    *(("interaction_share", "surgery_loss"), ("f_share", "previous_token"), ("g_share", "induction")),
)
SHARE_TICKS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1)
# Of the bootstrap of the figure's own intervals, over the heads of a layer.
SAMPLES, SEED = 1000, 0


def plot_classes(heads: Mapping[str, Columns], models: Sequence[str]) -> Figure:
    """The class of each head by layer, as a colour, and its role, as a letter; trained beside random.

    heads: model -> columns layer, head, class, role.
    """
    pairs = trained_and_control(models)
    figure, panels = panel_grid(len(pairs), 2, 1.9, above=0.9, share_x="model", share_y="model", least=0.7)
    colours = ListedColormap(list(COLOURS.values()))
    norm = BoundaryNorm(np.arange(len(CLASSES) + 1) - 0.5, len(CLASSES))
    for panel, model in filled(panels, pairs):
        own = heads[model]
        layers, head = np.unique(own["layer"]), own["head"].astype(int)
        column = np.searchsorted(layers, own["layer"])
        image = np.full((head.max() + 1, len(layers)), np.nan)
        image[head, column] = [CLASSES.index(name) for name in own["class"]]
        panel.imshow(image, cmap=colours, norm=norm, aspect="auto")
        # Letters as high as a head's row, at most of 5 points; too small to read, they are left out.
        size = min(5.0, 72 * panel.get_position().height * figure.get_figheight() / len(image))
        for x, y, role in zip(column, head, own["role"], strict=True):
            if size >= SMALLEST:
                panel.text(x, y, LETTERS.get(role, ""), ha="center", va="center", fontsize=size)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        counts = Counter(own["class"].tolist())
        told = ", ".join(f"{counts[name]} {name}" for name in CLASSES if counts[name])
        # Among many models, the counts are those of heads_classes.csv alone.
        title(panel, f"{model}\n{told}" if len(pairs) <= 4 else model, most=7)
    figure.supxlabel("layer", fontsize=8)
    figure.supylabel("head", fontsize=8)
    keys = [Line2D([], [], marker="s", linestyle="", color=colour, label=name) for name, colour in COLOURS.items()]
    keys += [
        Line2D([], [], marker=f"${letter}$", linestyle="", color="black", markersize=4, label=role.replace("_", " "))
        for role, letter in LETTERS.items()
    ]
    figure.legend(handles=_by_row(keys, len(CLASSES)), ncols=len(CLASSES), loc="outside upper center")
    return figure


def _by_row(entries: Sequence[Line2D], columns: int) -> list[Line2D]:
    """Entries of a legend, which fills column after column, so that it reads row by row; empty ones at the end."""
    rows = -(-len(entries) // columns)
    filled_up = [*entries, *(Line2D([], [], linestyle="", label=" ") for _ in range(rows * columns - len(entries)))]
    return [filled_up[row * columns + column] for column in range(columns) for row in range(rows)]


def plot_least_additive(heads: Columns, model: str) -> Figure:
    """r_additive of some heads with its interval, a line a head, beside their shares of variance and scores."""
    count = len(heads["head"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 1.0 + 0.22 * count), sharey=True, width_ratios=(2, 3))
    place, r = np.arange(count), heads["r_additive"]
    left.errorbar(
        r, place, xerr=[r - heads["r_additive_low"], heads["r_additive_high"] - r], fmt="o", markersize=3, color=BLUE
    )
    names = zip(*(heads[name].tolist() for name in ("layer", "head", "class")), strict=True)
    left.set_yticks(place, [f"layer {int(layer)} head {int(head)}, {kind}" for layer, head, kind in names])
    left.set(xlabel="r_additive", title=model)
    values = np.stack([heads[name] for name in SCORES], axis=1)
    right.imshow(values, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        right.text(
            x, y, f"{value:.2f}", ha="center", va="center", fontsize=6, color="white" if value > 0.6 else "black"
        )
    right.set_xticks(np.arange(len(SCORES)), list(SCORES.values()), fontsize=6)
    right.tick_params(length=0)
    return figure


def plot_interaction(heads: Columns, relations: Sequence[Mapping[str, Any]], model: str) -> Figure:
    """Shares of variance of a model's heads against what the heads do and what replacing them costs, a point a head in
    the colour of its class; against layers, the mean of each layer's heads with its interval."""
    figure, panels = plt.subplots(2, 3, figsize=(WIDTH, 4.4))
    for panel, (share, against) in zip(panels.flat, PANELS, strict=True):
        (found,) = [row for row in relations if (row["share"], row["against"]) == (share, against)]
        panel.set_title(_told(found), fontsize=7)
        panel.set(xlabel=NAMES[against], ylabel=NAMES[share])
        # One axis of shares in all panels: of square roots, so that small ones are apart.
        panel.set_yscale("function", functions=(lambda share: np.sqrt(np.clip(share, 0, None)), np.square))
        panel.set_ylim(0, 1.02)
        panel.set_yticks(SHARE_TICKS, [f"{tick:g}" for tick in SHARE_TICKS])
        colours = [COLOURS[name] for name in heads["class"]]
        panel.scatter(heads[against], heads[share], s=5, c=colours, linewidths=0)
        if against == "layer":
            count_axis(panel, "layer")
            _draw_means(panel, heads["layer"], heads[share])
        if not found["heads"]:
            panel.set_xticks([])
            panel.text(0.5, 0.5, "not run", transform=panel.transAxes, ha="center", va="center", color=GREY)
    keys = [Line2D([], [], marker="o", linestyle="", markersize=3, color=colour) for colour in COLOURS.values()]
    figure.legend(keys, COLOURS, ncols=len(keys), loc="outside lower center")
    figure.suptitle(model, fontsize=8)
    return figure


def _draw_means(panel: Axes, layer: np.ndarray, values: np.ndarray) -> None:
    """The mean over the heads of each layer, with its interval."""
    layers = np.unique(layer)
    own = [values[(layer == number) & np.isfinite(values)] for number in layers]
    ends = np.array([interval((value,), mean, SAMPLES, SEED) for value in own]).T
    means = np.array([value.mean() if len(value) else np.nan for value in own])
    panel.plot(layers, means, color="black")
    panel.fill_between(layers.astype(float), *ends, color="black", alpha=0.15, linewidth=0)


def _told(found: Mapping[str, Any]) -> str:
    """The rank correlation with its interval, and that within layers."""
    lines = [
        f"{name} {found[key]:.2f} [{found[f'{key}_low']:.2f}, {found[f'{key}_high']:.2f}]"
        for key, name in (("r", "rank r"), ("within", "within layers"))
        if np.isfinite(found[key])
    ]
    return "\n".join(lines)


def classes(table: str, models: Sequence[str]) -> Figure:
    """The class and role of each head, from heads.csv."""
    return plot_classes(heads_of(table), models)


def least_additive(table: str, model: str) -> Figure:
    """The least additive heads of a model with their scores, from heads_least_additive.csv."""
    own = query.where(tables.read_columns(table), model=model)
    return plot_least_additive(own, model) if len(own["head"]) else say(f"{model}: no head sees distance")


def interaction(table: str, relations: str, model: str) -> Figure:
    """What the interaction of a model's heads goes with, from heads.csv and heads_relations.csv."""
    rows = [row for row in tables.from_csv(relations) if row["model"] == model]
    return plot_interaction(query.where(tables.read_columns(table), model=model), rows, model)
