"""The figures of the three-axis fit."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from triaxis.base.query import Columns
from triaxis.fit import summary
from triaxis.fit.combinations import AXES, COMBINATIONS, FULL
from triaxis.fit.summary import MatrixExample
from triaxis.report.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILION,
    WIDTH,
    filled,
    plot_by_head,
    say,
    trained_and_control,
)

Array = NDArray[np.floating]


def plot_axes(r: Mapping[str, Mapping[str, Array]], null_r: Mapping[str, float]) -> Figure:
    """The distribution over heads of r for each combination of axes.

    r: model -> axes -> (heads of all layers,), NaN for a head without a value; null_r: axes -> what iid noise would
    give.
    """
    pairs = trained_and_control(list(r))
    figure, panels = plt.subplots(len(pairs), 1, figsize=(WIDTH, 2.5 * len(pairs)), squeeze=False, sharex=True)
    places = np.arange(len(COMBINATIONS))
    for panel, pair in zip(panels[:, 0], pairs, strict=True):
        for model, side, colour in zip(pair, (-0.19, 0.19), (BLUE, ORANGE), strict=True):
            if model is None:
                continue
            panel.plot([], [], "s", color=colour, alpha=0.7, label=model)
            values = [r[model][axes][np.isfinite(r[model][axes])] for axes in COMBINATIONS]
            if not all(map(len, values)):
                continue
            parts = panel.violinplot(values, places + side, widths=0.34, showextrema=False)
            for body in parts["bodies"]:
                body.set(facecolor=colour, edgecolor="none", alpha=0.55)
            quartiles = np.array([np.percentile(v, [25, 50, 75]) for v in values])
            panel.vlines(places + side, quartiles[:, 0], quartiles[:, 2], color=colour, linewidth=2)
            panel.plot(places + side, quartiles[:, 1], "o", color="white", markeredgecolor=colour, markersize=4)
        null = [null_r[axes] for axes in COMBINATIONS]
        panel.hlines(null, places - 0.4, places + 0.4, color="black", linewidth=1, label="null: iid noise")
        panel.set(ylim=(0, 1.02), ylabel="r, one value a head")
        panel.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        panel.set_xticks(places, [axes.replace("+", "\n+ ") for axes in COMBINATIONS])
    return figure


def plot_matrices(examples: Sequence[MatrixExample]) -> Figure:
    """Each example's logits beside its fit, its residual and its three components."""
    if not examples:
        return say("every logit matrix of this shard is constant")
    figure = plt.figure(figsize=(WIDTH, 1.75 * len(examples)))
    grid = figure.add_gridspec(len(examples), 4, width_ratios=[1, 1, 1, 1.25])
    for row, example in enumerate(examples):
        distance, query, key = example.components
        position, shown = np.arange(len(query)), example.positions
        gap = shown[:, None] - shown
        fit = np.where(gap >= 0, distance[np.abs(gap)] + query[shown, None] + key[shown], np.nan)
        residual = example.logits - fit
        low, high = np.nanpercentile(example.logits, [0.5, 99.5])
        bound = float(np.nanpercentile(np.abs(residual), 99.5))
        maps = [("logits", example.logits, low, high, "viridis"), ("fit", fit, low, high, "viridis")]
        maps.append(("residual", residual, -bound, bound, "PuOr"))
        for column, (title, values, least, most, colours) in enumerate(maps):
            panel = figure.add_subplot(grid[row, column])
            image = panel.imshow(values, vmin=least, vmax=most, cmap=colours)
            panel.spines[:].set_visible(False)
            places, names = [0, len(shown) - 1], [str(shown[0]), str(shown[-1])]
            panel.set_xticks(places, names)
            panel.set_yticks(places, names)
            panel.set_xlabel("key", labelpad=-6)
            if column == 0:
                panel.set_ylabel(f"{example.name}\nquery", labelpad=-6)
            panel.set_title(f"{title}, r = {example.r:.3f}" if column == 1 else title)
            figure.colorbar(image, ax=panel, fraction=0.05, pad=0.03)
        stack = grid[row, 3].subgridspec(3, 1)
        for part, (axis, component) in enumerate(zip(AXES, example.components, strict=True)):
            panel = figure.add_subplot(stack[part])
            panel.plot(position, component, color=(BLUE, VERMILION, GREEN)[part], linewidth=0.8)
            panel.margins(x=0)
            panel.set_title(axis, loc="right", pad=-6, fontsize=7)
            panel.locator_params(axis="y", nbins=3)
            panel.set_xticks([0, len(query) - 1], ["0", str(len(query) - 1)] if part == 2 else ["", ""])
    return figure


def plot_distance(components: Mapping[str, Array], layers: Mapping[str, Sequence[int]]) -> Figure:
    """The mean distance component by layer; components: model -> (layers, length), each layer centred on 0.

    Each panel has its own scale: random weights give far smaller logits.
    """
    pairs = trained_and_control(list(components))
    figure, panels = plt.subplots(len(pairs), 2, figsize=(WIDTH, 2.4 * len(pairs)), squeeze=False, sharex=True)
    last = max(max(numbers) for numbers in layers.values())
    colours = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, last), "viridis")
    for panel, model in filled(panels, pairs):
        for layer, component in zip(layers[model], components[model], strict=True):
            panel.plot(np.arange(len(component)) + 1, component, color=colours.to_rgba(np.array(layer)), linewidth=0.8)
        panel.axhline(0, color=GREY, linewidth=0.5, zorder=0)
        panel.set(xscale="log", title=model)
        panel.margins(x=0.01)
    for row in panels:
        row[0].set_ylabel("mean distance component (logits)")
    for panel in panels[-1]:
        panel.set_xlabel("distance + 1 (tokens)")
    figure.colorbar(colours, ax=panels, label="layer", pad=0.01, ticks=MaxNLocator(integer=True))
    return figure


# A measure's column of prefixes.csv, what the figure calls it, and its colour.
FITTED = [("mean_r", "r", BLUE), ("adjusted_r2", "adjusted R²", VERMILION)]
ADDITIVE = [
    ("mean_r_additive", "additive r", BLUE),
    ("mean_key_independence", "key independence", GREEN),
    ("mean_distance_independence", "distance independence", ORANGE),
    ("mean_interaction", "interaction", VERMILION),
]


def plot_prefixes(rows: Mapping[str, Columns], models: Sequence[str]) -> Figure:
    """The fit, and how additive the logits are, against how many first tokens are taken; a row a model.

    rows: model -> its rows of prefixes.csv. Means over sequences, with their intervals where there are some. Without
    the mechanism, the fit alone.
    """
    pairs = trained_and_control(models)
    measured = any(np.isfinite(rows[model]["mean_r_additive"]).any() for model in models)
    sides = [FITTED, ADDITIVE] if measured else [FITTED]
    size = (WIDTH if measured else WIDTH / 2, 2.4 * len(pairs) + 0.5)
    figure, panels = plt.subplots(len(pairs), len(sides), figsize=size, squeeze=False, sharex="row", sharey=True)
    for line, pair in zip(panels, pairs, strict=True):
        for panel, side in zip(line, sides, strict=True):
            for model, style in zip(pair, ("-o", "--s"), strict=True):
                if model is not None:
                    _draw_measures(panel, rows[model], side, style)
            if np.isfinite(length := rows[pair[0]]["training_length"][0]):
                panel.axvline(length, color="black", linewidth=0.8, linestyle=":")
            prefixes = rows[pair[0]]["prefix"]
            panel.set_xscale("log", base=2)
            panel.set_xticks(prefixes, [f"{prefix:,}" for prefix in prefixes])
            panel.minorticks_off()
            panel.set_title(pair[0])
            panel.set_xlabel("first tokens (log scale)")
            panel.grid(axis="y", linewidth=0.3)
        line[0].set_ylabel("mean over sequences")
    panels[0, 0].set_ylim(min(0, panels[0, 0].get_ylim()[0]), 1.02)
    for place, side in enumerate(sides):
        handles = [Line2D([], [], color=colour, label=name) for _, name, colour in side]
        if place == 0:
            handles += [
                Line2D([], [], color=GREY, marker="o", markersize=3, label="trained"),
                Line2D([], [], color=GREY, marker="s", markersize=3, linestyle="--", label="random weights"),
                Line2D([], [], color="black", linestyle=":", linewidth=0.8, label="training length"),
            ]
        panels[0, place].legend(handles=handles, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.12))
    return figure


def _draw_measures(panel: Axes, rows: Columns, side: Sequence[tuple[str, str, str]], style: str) -> None:
    """One model's measures, an error bar where there is an interval."""
    for column, _, colour in side:
        values, low, high = (rows[f"{column}{end}"] for end in ("", "_low", "_high"))
        spread = np.nan_to_num(np.stack([values - low, high - values])).clip(0)
        panel.errorbar(
            rows["prefix"], values, spread, fmt=style, color=colour, markersize=3, elinewidth=0.8, capsize=1.5
        )


def heads(table: str, models: Sequence[str]) -> Figure:
    """r of the three-axis fit by layer and head, from r_by_head.csv."""
    r = summary.r_by_head(table, FULL)
    return plot_by_head({model: r[model] for model in models}, "r of the three-axis fit")


def axes(table: str, models: Sequence[str]) -> Figure:
    """The distribution of r for each combination of axes, with the null marked, from r_by_head.csv."""
    by_axes = {axes: summary.r_by_head(table, axes) for axes in COMBINATIONS}
    r = {model: {axes: by_axes[axes][model].ravel() for axes in COMBINATIONS} for model in models}
    return plot_axes(r, summary.null_r(table))


def matrices(fits: str, logits: str, components: str, model: str, length: int) -> Figure:
    """The logits of the best, the median and the worst head of a model beside their fit, residual and components."""
    return plot_matrices(summary.matrix_examples(fits, logits, components, length))


def prefixes(table: str, models: Sequence[str]) -> Figure:
    """The fit and its additivity against the number of first tokens, from prefixes.csv."""
    return plot_prefixes(summary.by_prefix(table), models)


def distance(components: Sequence[str], models: Sequence[str]) -> Figure:
    """The mean distance component by layer, from components/."""
    layers, values = summary.distance_by_layer(components)
    return plot_distance({model: values[model] for model in models}, layers)
