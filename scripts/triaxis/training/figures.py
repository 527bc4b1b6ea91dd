"""The figures of what is learned, and when."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from triaxis.base import tables
from triaxis.report.style import BLUE, GREEN, GREY, ORANGE, VERMILION, WIDTH
from triaxis.training import summary
from triaxis.training.summary import BEYOND, DISPLACED, LOSS

Courses = Mapping[str, Mapping[int | None, Mapping[str, tuple[NDArray, NDArray]]]]

AXES = {
    "distance+query+key": "black",
    "distance+key": BLUE,
    "query+key": GREEN,
    "distance": VERMILION,
    "query": ORANGE,
    "key": GREY,
}
PANELS = {
    LOSS: "loss (nats a token)",
    "r distance+query+key": "r, three axes",
    "adjusted_r2": "adjusted R² by axes",
    "r_additive": "r_additive",
    "interaction": "interaction",
    "key_independence": "key independence",
    "distance_independence": "distance independence",
    "slow_norm_share": "slow pairs' share of the norm",
    "key_constancy": "key constancy",
    "f_share": "share of f",
    "g_share": "share of g",
    "previous_token_attention": "attention, previous token",
    "first_token_attention": "attention, first token",
}
CRITERIA = {
    LOSS: "loss",
    "key_independence": "key independence",
    "distance_independence": "distance independence",
    "interaction": "interaction",
    "slow_norm_share": "slow pairs' norm",
    "distance_spread": "spread of $a_d$",
    "entropy": "entropy of attention",
}
COSTS = {DISPLACED: "words displaced", BEYOND: "loss at 4 T"}
TICKS = 6  # at most, of the steps


def step_axis(panel: Axes, steps: Sequence[int]) -> None:
    """Steps on a logarithmic axis that has a place for 0."""
    least = min((step for step in steps if step > 0), default=1)
    panel.set_xscale("symlog", linthresh=least, linscale=0.4)
    ticks = sorted(steps)
    ticks = ticks[:1] + ticks[1:][:: -(-(len(ticks) - 1) // (TICKS - 1)) or 1]
    panel.set_xticks(ticks, [f"{step:,}" if step < 10_000 else f"{step // 1000:,}k" for step in ticks])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.margins(x=0.03)


def _draw(panel: Axes, own: Mapping[str, tuple[NDArray, NDArray]], **look: Any) -> None:
    """The mean over series (seeds), and a band from the least to the greatest of them."""
    steps = np.array(sorted(set.intersection(*(set(at.tolist()) for at, _ in own.values()))))
    values = np.array(
        [[dict(zip(at.tolist(), found, strict=True))[step] for step in steps] for at, found in own.values()]
    )
    panel.plot(steps, values.mean(0), **look)
    if len(values) > 1:
        panel.fill_between(steps, values.min(0), values.max(0), color=look["color"], alpha=0.2, linewidth=0)


def plot_training(courses: Courses, settled: Sequence[float]) -> Figure:
    """Every measure against the training step: a line a layer, the mean over layers in black.

    courses: as `summary.courses`; settled: the steps at which the losses of the series settle, NaN for one that does
    not.
    """
    steps = sorted({int(step) for own in courses[LOSS].values() for at, _ in own.values() for step in at})
    layers = sorted({layer for own in courses.values() for layer in own if layer is not None})
    colours = mpl.cm.ScalarMappable(Normalize(0, max([*layers, 1])), "viridis")
    figure, grid = plt.subplots(5, 3, figsize=(WIDTH, 8.6), sharex=True)
    panels = dict(zip(PANELS, grid.flat, strict=False))
    for measure, panel in panels.items():
        if measure == "adjusted_r2":
            for axes, colour in AXES.items():
                _draw(panel, courses[f"{measure} {axes}"][None], color=colour, label=axes)
        else:
            for layer, own in courses.get(measure, {}).items():
                if layer is not None:
                    _draw(panel, own, color=colours.to_rgba(np.array(layer)), linewidth=0.8)
            if None in courses.get(measure, {}):
                _draw(panel, courses[measure][None], color="black", linewidth=1.4)
        for step in settled:
            if np.isfinite(step):
                panel.axvline(step, color="black", linewidth=0.5, linestyle=":")
        step_axis(panel, steps)
        panel.set_title(PANELS[measure])
        if measure != LOSS:
            low, high = panel.get_ylim()
            panel.set_ylim(min(low, 0) if measure == "adjusted_r2" else max(0, low), min(1.02, high))
    by_axes, by_layer = list(grid.flat)[len(panels) :]
    by_axes.set_axis_off()
    handles, names = panels["adjusted_r2"].get_legend_handles_labels()
    by_axes.legend(handles, names, loc="center", title="adjusted R² by axes")
    by_layer.set_axis_off()
    by_layer.plot([], [], color="black", linewidth=1.4, label="all layers")
    by_layer.plot([], [], color="black", linewidth=0.5, linestyle=":", label="the loss has settled")
    by_layer.legend(loc="upper center")
    scale = by_layer.inset_axes((0.1, 0.35, 0.8, 0.07))
    figure.colorbar(colours, cax=scale, orientation="horizontal", label="layer", ticks=MaxNLocator(integer=True))
    for panel in list(panels.values())[-3:]:
        panel.tick_params(labelbottom=True)
    figure.supxlabel("training step", fontsize=8)
    return figure


def training(table: str, settling: str, model: str) -> Figure:
    """Every measure of the series of one entry against the step, from training.csv and settling.csv."""
    courses = summary.courses(table, model)
    own = {name for at in courses[LOSS].values() for name in at}
    settled = [row["settled"] for row in tables.from_csv(settling) if row["measure"] == LOSS and row["series"] in own]
    return plot_training(courses, settled)


def training_loss(table: str) -> Figure:
    """The losses of what was trained here, on training and on held-out text, from training_loss.csv."""
    rows = tables.from_csv(table)
    figure, panel = plt.subplots(figsize=(WIDTH / 2, 2.5))
    colours = (BLUE, ORANGE, GREEN, VERMILION, GREY)
    for number, series in enumerate(dict.fromkeys(row["series"] for row in rows)):
        colour = colours[number % len(colours)]
        for text, style in (("training", "-"), ("held out", "o")):
            own = [row for row in rows if (row["series"], row["text"]) == (series, text)]
            look = {"linewidth": 0.8} if text == "training" else {"markersize": 3, "markeredgecolor": "white"}
            steps, losses = [row["step"] for row in own], [row["loss"] for row in own]
            panel.plot(steps, losses, style, color=colour, label=f"{series}, {text}", **look)
    step_axis(panel, sorted({int(row["step"]) for row in rows if row["text"] == "held out"}))
    panel.set(xlabel="training step", ylabel="loss (nats a token)")
    panel.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def criteria(table: str) -> Figure:
    """How closely each measure ranks the checkpoints of an entry by what they lose: a row of panels for all of them,
    and one for the later half."""
    rows = tables.from_csv(table)
    lines, costs = list(dict.fromkeys((row["entry"], row["among"]) for row in rows)), list(COSTS)
    costs = [cost for cost in costs if any(row["cost"] == cost for row in rows)]
    height = 0.75 + 1.9 * len(lines)
    figure, grid = plt.subplots(len(lines), len(costs), figsize=(WIDTH, height), squeeze=False, sharex=True)
    for (entry, among), line in zip(lines, grid, strict=True):
        for cost, panel in zip(costs, line, strict=True):
            own = [row for row in rows if (row["entry"], row["among"], row["cost"]) == (entry, among, cost)]
            _draw_ranks(panel, own)
            panel.set_title(f"{entry}, {among} ({own[0]['checkpoints']:.0f}): {COSTS[cost]}" if own else "")
            if panel is not line[0]:
                panel.tick_params(labelleft=False)
    figure.supxlabel("rank correlation over checkpoints", fontsize=8)
    return figure


def _draw_ranks(panel: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """A dot and its interval for each measure; dotted where the loss ranks as closely, either way."""
    for place, row in enumerate(rows):
        colour = {"the baseline": "black", "better than the loss": GREEN}.get(row["verdict"], BLUE)
        panel.plot(row["rank"], place, "o", color=colour, markersize=4)
        panel.plot([row["rank_low"], row["rank_high"]], [place, place], color=colour, linewidth=1)
        if row["measure"] == LOSS:
            for side in (-1, 1):
                panel.axvline(side * row["rank"], color="black", linewidth=0.5, linestyle=":")
    panel.axvline(0, color=GREY, linewidth=0.5)
    panel.set_yticks(range(len(rows)), [CRITERIA[row["measure"]] for row in rows])
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.set_xlim(-1.05, 1.05)
