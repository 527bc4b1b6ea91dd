"""The figures of the surgery: what a model loses on additive logits, or with a band of frequencies changed."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator, SymmetricalLogLocator
from numpy.typing import NDArray

from triaxis.base.query import Columns
from triaxis.report.style import BLUE, GREEN, GREY, ORANGE, PAGE, VERMILION, WIDTH, count_axis, legend_above, title
from triaxis.surgery import summary
from triaxis.surgery.summary import Losses, Steps

Array = NDArray[np.floating]

CYCLE = (BLUE, ORANGE, GREEN, VERMILION, GREY)
# What is drawn of the kinds of `surgery.variants`, top to bottom; 'exact' adds nothing.
KINDS = ("additive", "first key apart", "control", "half")
# Change of a band -> its colour, and what moves its points apart from those of the others.
CHANGES = {
    "unrotated": (BLUE, 0.88),
    "mean turn": (ORANGE, 0.96),
    "masked": (VERMILION, 1.04),
    "fixed phase": (GREEN, 1.13),
}
# Panels of `plot_surgery` beside each other, at most.
ACROSS = 5
ENDS = ("added", "added_low", "added_high")
SHARES = {"f": ("black", "-"), "g": ("black", ":"), "interaction": (GREY, "--")}


# From here to 0 the axis of losses is linear, so that nothing lost is drawn too.
LINEAR = 0.01  # nats a token


def plot_surgery(losses: Mapping[str, Losses]) -> Figure:
    """Loss that each variant, all layers replaced, adds, with its interval over sequences: a panel a model, in which a
    colour is a kind; all on one scale."""
    first = next(iter(losses.values()))
    kinds = [kind for kind in KINDS if kind in first.kinds]
    order = [variant for kind in kinds for variant, own in zip(first.variants, first.kinds, strict=True) if own == kind]
    across = min(len(losses), ACROSS)
    rows = -(-len(losses) // across)
    height = min(0.16 * len(order) + 0.5, (PAGE - 0.7) / rows)
    size = (WIDTH * (0.75 if across == 1 else 1), rows * height + 0.5)
    figure, grid = plt.subplots(rows, across, figsize=size, sharex=True, sharey=True, squeeze=False)
    for panel, (model, own) in zip(grid.flat, losses.items(), strict=False):
        for place, variant in enumerate(order):
            n = own.variants.index(variant)
            colour = CYCLE[kinds.index(own.kinds[n])]
            error = np.maximum([[own.added[n] - own.low[n]], [own.high[n] - own.added[n]]], 0)
            filling = "full" if variant == own.chosen else "none"
            look = {"fmt": "o", "markersize": 3, "fillstyle": filling, "elinewidth": 0.8}
            panel.errorbar([own.added[n]], [place], xerr=error, color=colour, **look)
        _loss_axis(panel, "x")
        for place, (before, after) in enumerate(pairwise(order)):
            if first.kinds[first.variants.index(before)] != first.kinds[first.variants.index(after)]:
                panel.axhline(place + 0.5, color=GREY, linewidth=0.4)
        panel.grid(axis="x", linewidth=0.3)
        panel.tick_params(axis="x", labelsize=8 if across < 3 else 6)
        panel.tick_params(axis="y", labelsize=min(8.0, 60 * height / (len(order) + 4)))
        title(panel, model)
    for panel in grid.flat[len(losses) :]:
        panel.set_axis_off()
    grid[0, 0].set_yticks(np.arange(len(order)), order)
    grid[0, 0].set_ylim(len(order) - 0.5, -0.5)
    _loss_limits(grid[0, 0], "x", [values for own in losses.values() for values in (own.added, own.low, own.high)])
    figure.supxlabel(f"loss added (nats a token; linear below {LINEAR:g})", fontsize=8)
    handles = [Line2D([], [], marker="s", linestyle="", markersize=4, color=CYCLE[n]) for n in range(len(kinds))]
    handles.append(Line2D([], [], marker="o", linestyle="", markersize=3, color=GREY))
    legend_above(figure, handles, [*kinds, "filled: the chosen form"])
    return figure


def _loss_axis(panel: Axes, axis: str) -> None:
    """A logarithmic axis of losses that also holds 0 and less."""
    getattr(panel, f"set_{axis}scale")("symlog", linthresh=LINEAR, linscale=0.5)
    own = getattr(panel, f"{axis}axis")
    own.set_major_locator(SymmetricalLogLocator(base=10, linthresh=LINEAR))
    own.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    own.set_minor_locator(NullLocator())


def _loss_limits(panel: Axes, axis: str, drawn: Sequence[Array]) -> None:
    """End an axis of losses a little beyond what is drawn."""
    values = np.concatenate(drawn)
    least, most = min(float(np.nanmin(values)), -LINEAR / 4), max(float(np.nanmax(values)), LINEAR)
    getattr(panel, f"set_{axis}lim")(2 * least, 1.6 * most)


def plot_bands(bands: Mapping[str, Mapping[str, Columns]]) -> Figure:
    """Loss that each change of a band adds, and the band's share of the variances, by the band's upper edge; a column a
    part of the depth. bands: part -> change -> columns of surgery_bands.csv."""
    figure, panels = plt.subplots(
        2, len(bands), figsize=(WIDTH, 3.8), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 2)
    )
    for (loss, share), (part, changes) in zip(panels.T, bands.items(), strict=True):
        for change, own in changes.items():
            colour, shift = CHANGES[change]
            errors = np.maximum(np.stack([own["added"] - own["added_low"], own["added_high"] - own["added"]]), 0)
            loss.errorbar(
                own["high"] * shift, own["added"], yerr=errors, fmt="o-", color=colour, markersize=3, label=change
            )
        own = next(iter(changes.values()))
        for name, (colour, line) in SHARES.items():
            share.plot(own["high"], own[f"{name}_share"], line, color=colour, marker="o", markersize=3, label=name)
        loss.set_title(f"layers: {part}")
        loss.axhline(0, color=GREY, linewidth=0.5, zorder=0)
        share.axhline(0, color=GREY, linewidth=0.5, zorder=0)
        share.set_xscale("log")
        share.set_xlabel("upper edge (turns)")
        share.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        share.xaxis.set_minor_locator(NullLocator())
    _loss_axis(panels[0, 0], "y")
    _loss_limits(
        panels[0, 0], "y", [own[name] for changes in bands.values() for own in changes.values() for name in ENDS]
    )
    panels[0, 0].set_ylabel(f"loss added (nats a token;\nlinear below {LINEAR:g})")
    panels[1, 0].set_ylabel("share of the variance")
    figure.legend(
        *(a + b for a, b in zip(*(panel.get_legend_handles_labels() for panel in panels[:, 0]), strict=True)),
        ncols=len(CHANGES) + len(SHARES),
        loc="outside lower center",
    )
    return figure


def plot_steps(steps: Steps) -> Figure:
    """Loss by layer, cumulative from both ends, and by head in the layers that matter."""
    figure, (alone, both, heads) = plt.subplots(1, 3, figsize=(WIDTH, 2.4))
    alone.bar(steps.layers, steps.alone - steps.plain, color=BLUE)
    count_axis(alone, "layer")
    alone.set(ylabel="loss added (nats a token)", title="one layer replaced")
    both.plot(steps.layers, steps.from_first, "o-", color=BLUE, markersize=2, label="up to the layer")
    both.plot(steps.layers, steps.from_last, "o-", color=VERMILION, markersize=2, label="from the layer on")
    both.axhline(steps.plain, color=GREY, linewidth=0.8, linestyle=":", label="nothing replaced")
    count_axis(both, "layer")
    both.set(ylabel="loss (nats a token)", title="many layers replaced")
    figure.legend(*both.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    for number, (layer, loss) in enumerate(steps.heads.items()):
        colour = CYCLE[number % len(CYCLE)]
        heads.plot(np.arange(len(loss)), loss - steps.plain, "o", color=colour, markersize=3, label=f"layer {layer}")
    heads.axhline(0, color=GREY, linewidth=0.5)
    count_axis(heads, "head")
    heads.set(ylabel="loss added (nats a token)", title="one head replaced")
    heads.legend(ncols=min(4, len(steps.heads)), loc="upper center", bbox_to_anchor=(0.5, -0.25), fontsize=6)
    return figure


def surgery(table: str, models: Sequence[str]) -> Figure:
    """The loss that each variant, all layers replaced, adds, from surgery.csv."""
    return plot_surgery(summary.surgery_losses(table, models))


def bands(table: str, model: str) -> Figure:
    """The loss that each change of a band of frequencies adds to one model's, from surgery_bands.csv."""
    return plot_bands(summary.surgery_bands(table, model))


def steps(surgery: str, model: str, variant: str) -> Figure:
    """The loss of one variant layer by layer, from both ends, and head by head, from a model's file of surgery/."""
    return plot_steps(summary.surgery_steps(surgery, variant))
