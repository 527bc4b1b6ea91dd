"""The figures of the three-axis fit."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from triaxis.base import tables
from triaxis.base.names import control_of, is_control, series_of, step_of
from triaxis.base.query import Columns
from triaxis.fit import summary
from triaxis.fit.combinations import COMBINATIONS, FULL
from triaxis.fit.summary import FEWEST_CELLS, Depth, MatrixExample
from triaxis.report.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILION,
    WIDTH,
    colours,
    legend_above,
    name_row,
    panel_grid,
    plot_by_head,
    say,
    title,
    trained_and_control,
)

Array = NDArray[np.floating]

SIDES = {"trained": BLUE, "random weights": ORANGE}
# What marks a value that is cut.
MARK = "#CC3311"
# Each component, and what it is drawn against.
COMPONENTS = {"distance": "distance (tokens)", "query": "query position", "key": "key position"}


def plot_axes(r: Mapping[str, Mapping[str, Array]], null_r: Mapping[str, float]) -> Figure:
    """The distribution over heads of r for each combination of axes, a panel a model and its control.

    r: model -> axes -> (heads of all layers,), NaN for a head without a value; null_r: axes -> what iid noise would
    give.
    """
    pairs = trained_and_control(list(r))
    figure, panels = panel_grid(len(pairs), 1, 2.3, above=0.9, share_x="all", share_y="all", least=0.75)
    places = np.arange(len(COMBINATIONS))
    for panel, pair in zip(panels[:, 0], pairs, strict=True):
        for model, side, colour in zip(pair, (-0.19, 0.19), SIDES.values(), strict=True):
            if model is None:
                continue
            values = [r[model][axes][np.isfinite(r[model][axes])] for axes in COMBINATIONS]
            if not all(map(len, values)):
                continue
            parts = panel.violinplot(values, places + side, widths=0.34, showextrema=False)
            for body in parts["bodies"]:
                body.set(facecolor=colour, edgecolor="none", alpha=0.55)
            quartiles = np.array([np.percentile(v, [25, 50, 75]) for v in values])
            panel.vlines(places + side, quartiles[:, 0], quartiles[:, 2], color=colour, linewidth=2)
            panel.plot(places + side, quartiles[:, 1], "o", color="white", markeredgecolor=colour, markersize=3)
        null = [null_r[axes] for axes in COMBINATIONS]
        panel.hlines(null, places - 0.4, places + 0.4, color="black", linewidth=1)
        panel.set(ylim=(0, 1.02))
        title(panel, pair[0])
        panel.set_xticks(places, [axes.replace("+", "\n+ ") for axes in COMBINATIONS])
    figure.supylabel("r, one value a head", fontsize=8)
    shown = [(name, colour) for n, (name, colour) in enumerate(SIDES.items()) if any(pair[n] for pair in pairs)]
    handles = [Line2D([], [], marker="s", linestyle="", color=colour, alpha=0.7) for _, colour in shown]
    handles.append(Line2D([], [], color="black", linewidth=1))
    legend_above(figure, handles, [*(name for name, _ in shown), "null: iid noise"])
    return figure


def plot_matrices(examples: Sequence[MatrixExample], model: str) -> Figure:
    """Each example's logits beside its fit, its residual and its three components.

    Scales are those of all tokens but the first, whose key often lies far off: where it does, it is cut, and marked
    with its value.
    """
    if not examples:
        return say(f"{model}: every logit matrix of this shard is constant")
    figure = plt.figure(figsize=(WIDTH, 2.35 * len(examples) + 0.3))
    grid = figure.add_gridspec(len(examples), 4, width_ratios=[1, 1, 1, 1.2])
    for row, example in enumerate(examples):
        _draw_maps(figure, [figure.add_subplot(grid[row, column]) for column in range(3)], example)
        stack = grid[row, 3].subgridspec(3, 1)
        parts = zip(COMPONENTS, example.components, (BLUE, VERMILION, GREEN), strict=True)
        for part, (name, component, colour) in enumerate(parts):
            _draw_component(figure.add_subplot(stack[part]), name, component, colour)
    figure.suptitle(f"{model}, sequence {examples[0].sequence}; logits as the softmax takes them (nats)", fontsize=8)
    return figure


def _draw_maps(figure: Figure, panels: Sequence[Axes], example: MatrixExample) -> None:
    distance, query, key = example.components
    shown = example.positions
    gap = shown[:, None] - shown
    fit = np.where(gap >= 0, distance[np.abs(gap)] + query[shown, None] + key[shown], np.nan)
    residual = example.logits - fit
    # Without the first key, unless there is no other.
    rest = np.s_[:, 1:] if len(shown) > 1 else np.s_[:, :]
    low, high = np.nanpercentile(example.logits[rest], [0.5, 99.5])
    bound = float(np.nanpercentile(np.abs(residual[rest]), 99.5))
    maps = (
        ("logits", example.logits, low, high, "viridis"),
        (f"fit, r = {example.r:.3f}", fit, low, high, "viridis"),
        ("residual", residual, -bound, bound, "PuOr"),
    )
    for panel, (name, values, least, most, cmap) in zip(panels, maps, strict=True):
        image = panel.imshow(values, vmin=least, vmax=most, cmap=cmap)
        panel.spines[:].set_visible(False)
        places, names = [0, len(shown) - 1], [str(shown[0]), str(shown[-1])]
        panel.set_xticks(places, names)
        panel.set_yticks(places, names)
        panel.set_xlabel("key position", labelpad=-6)
        panel.set_title(name)
        first = float(np.nanmedian(values[:, 0]))
        if not least <= first <= most:
            sign = "\u25bc" if first < least else "\u25b2"
            panel.text(0.12, 0.9, f"{sign} first key: {first:.1f}", transform=panel.transAxes, color=MARK, fontsize=6)
            panel.plot([0], [len(shown) / 2], marker="<", color=MARK, markersize=3, clip_on=False)
        bar = figure.colorbar(image, ax=panel, orientation="horizontal", fraction=0.05, pad=0.03, extend="both")
        bar.ax.tick_params(labelsize=6)
        bar.locator = MaxNLocator(4)
        bar.set_label("logit", fontsize=6, labelpad=0)
    panels[0].set_ylabel(f"{example.name}\nquery position", labelpad=-6)


def _draw_component(panel: Axes, name: str, component: Array, colour: str) -> None:
    """One component on the scale of all tokens but the first, and of distances at which enough cells remain."""
    shown = component[:-FEWEST_CELLS] if name == "distance" else component[1:]
    shown = shown if len(shown) else component
    panel.plot(np.arange(len(component)), component, color=colour, linewidth=0.8)
    low, high = float(shown.min()), float(shown.max())
    room = 0.08 * (high - low) or 1.0
    panel.set(xlim=(0, max(len(component) - 1, 1)), ylim=(low - room, high + room))
    first = float(component[0])
    cut = name != "distance" and not low - room <= first <= high + room
    told = f", first token {first:.1f}" if cut else " (logit)"
    panel.set_title(f"{name} component{told}", loc="right", fontsize=6, pad=2, color=MARK if cut else "black")
    panel.set_xlabel(COMPONENTS[name], fontsize=6, labelpad=-5)
    panel.locator_params(axis="y", nbins=3)
    panel.set_xticks([0, len(component) - 1], ["0", str(len(component) - 1)])
    panel.tick_params(labelsize=6)


def plot_distance(components: Mapping[str, Sequence[Depth]]) -> Figure:
    """The distance component by the third of the layers that a head is in: median over heads, quartiles and the middle
    nine tenths; a row a model, its control in the same panels, all on one scale."""
    pairs = trained_and_control(list(components))
    wide = max(map(len, components.values()))
    figure, panels = panel_grid(len(pairs), wide, 2.2, above=0.9, share_x="all", share_y="all", least=0.7)
    for row, pair in zip(panels, pairs, strict=True):
        for model, (colour, line) in zip(pair, (("trained", "-"), ("random weights", "--")), strict=True):
            for panel, own in zip(row, components.get(model or "", []), strict=False):
                bands = np.quantile(own.components, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
                at, shade = own.distance + 1, SIDES[colour]
                panel.fill_between(at, bands[0], bands[4], color=shade, alpha=0.18, linewidth=0)
                panel.fill_between(at, bands[1], bands[3], color=shade, alpha=0.35, linewidth=0)
                panel.plot(at, bands[2], line, color=shade)
        for n, panel in enumerate(row):
            panel.axhline(0, color=GREY, linewidth=0.5, zorder=0)
            panel.set_xscale("log")
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            panel.margins(x=0.01)
            if n < len(components[pair[0]]):
                own = components[pair[0]][n]
                layers = f"layers {own.first} to {own.last}"
                panel.text(0.97, 0.97, layers, transform=panel.transAxes, ha="right", va="top", fontsize=6)
            else:
                panel.set_axis_off()
        name_row(row, pair[0])
    figure.supxlabel("distance + 1 (tokens)", fontsize=8)
    figure.supylabel("distance component (logits)", fontsize=8)
    names = [name for n, name in enumerate(SIDES) if any(pair[n] for pair in pairs)]
    lines = [Line2D([], [], color=SIDES[name], linestyle="--" if name == "random weights" else "-") for name in names]
    shades = [Patch(color=GREY, alpha=0.5, linewidth=0), Patch(color=GREY, alpha=0.2, linewidth=0)]
    legend_above(
        figure,
        [*lines, *shades],
        [*(f"{name}, median head" for name in names), "half of the heads", "90 % of the heads"],
    )
    return figure


# A measure's column of prefixes.csv, what the figure calls it, and its colour.
FITTED = [("mean_r", "r", BLUE), ("adjusted_r2", "adjusted R²", VERMILION)]
ADDITIVE = [
    ("mean_r_additive", "additive r", "#56B4E9"),
    ("mean_key_independence", "key independence", GREEN),
    ("mean_distance_independence", "distance independence", ORANGE),
    ("mean_interaction", "interaction", "#CC79A7"),
]


def plot_prefixes(rows: Mapping[str, Columns], models: Sequence[str]) -> Figure:
    """The fit, and how additive the logits are, against how many first tokens are taken; a row a model.

    rows: model -> its rows of prefixes.csv. Means over sequences, with their intervals where there are some. Without
    the mechanism, the fit alone.
    """
    pairs = trained_and_control(models)
    measured = any(np.isfinite(rows[model]["mean_r_additive"]).any() for model in models)
    sides = [FITTED, ADDITIVE] if measured else [FITTED]
    figure, panels = panel_grid(len(pairs), len(sides), 2.2, above=1.0, share_x="all", share_y="all", least=0.7)
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
            title(panel, pair[0])
            panel.grid(axis="y", linewidth=0.3)
    figure.supxlabel("first tokens (log scale)", fontsize=8)
    figure.supylabel("mean over sequences", fontsize=8)
    panels[0, 0].set_ylim(min(0, panels[0, 0].get_ylim()[0]), 1.02)
    handles = [
        Line2D([], [], color=colour, label=name) for _, name, colour in (entry for side in sides for entry in side)
    ]
    handles += [
        Line2D([], [], color=GREY, marker="o", markersize=3, label="trained"),
        Line2D([], [], color=GREY, marker="s", markersize=3, linestyle="--", label="random weights"),
        Line2D([], [], color="black", linestyle=":", linewidth=0.8, label="training length"),
    ]
    legend_above(figure, handles, [str(handle.get_label()) for handle in handles])
    return figure


def _draw_measures(panel: Axes, rows: Columns, side: Sequence[tuple[str, str, str]], style: str) -> None:
    """One model's measures, an error bar where there is an interval."""
    for column, _, colour in side:
        values, low, high = (rows[f"{column}{end}"] for end in ("", "_low", "_high"))
        spread = np.nan_to_num(np.stack([values - low, high - values])).clip(0)
        panel.errorbar(
            rows["prefix"], values, spread, fmt=style, color=colour, markersize=3, elinewidth=0.8, capsize=1.5
        )


# A measure's column of scale.csv, and what the figure calls it.
SCALED = {"mean_r": "r", "mean_r_additive": "r_additive", "mean_interaction": "interaction"}


def plot_scale(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """r, r_additive and the interaction of every model against its number of parameters, with intervals.

    rows: those of scale.csv. A colour a model or series; the checkpoints of a series are joined, step by step, and
    grow with it; random weights are hollow.
    """
    names = [name for name in SCALED if any(np.isfinite(row[name]) for row in rows)]
    figure, panels = plt.subplots(1, len(names), figsize=(WIDTH, 2.6), squeeze=False)
    trained = [row["model"] for row in rows if not is_control(row["model"])]
    groups = list(dict.fromkeys(series_of(model) or model for model in trained))
    shades = dict(zip(groups, colours(len(groups)), strict=True))
    of_control = {control_of(model): shades[series_of(model) or model] for model in reversed(trained)}
    shades |= {row["model"]: of_control.get(row["model"], GREY) for row in rows if is_control(row["model"])}
    for panel, name in zip(panels[0], names, strict=True):
        for group, colour in shades.items():
            own = [row for row in rows if (series_of(row["model"]) or row["model"]) == group]
            own.sort(key=lambda row: step_of(row["model"]) or 0)
            at, values, low, high = (
                np.array([row[column] for row in own]) for column in ("parameters", name, f"{name}_low", f"{name}_high")
            )
            panel.vlines(at, low, high, color=colour, linewidth=0.8)
            panel.plot(at, values, "-", color=colour, linewidth=0.6)
            sizes = np.linspace(6, 22, len(own)) if len(own) > 1 else [16]
            panel.scatter(at, values, s=sizes, facecolors="none" if is_control(group) else colour, edgecolors=colour)
        panel.set_xscale("log")
        panel.set_xlabel("parameters")
        panel.set_title(SCALED[name])
    handles = [Line2D([], [], marker="o", linestyle="", markersize=4, color=shades[group]) for group in groups]
    labels = list(groups)
    if len(shades) > len(groups):
        handles.append(Line2D([], [], marker="o", linestyle="", markersize=4, color=GREY, fillstyle="none"))
        labels.append("random weights, same colour")
    legend_above(figure, handles, labels)
    return figure


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
    return plot_matrices(summary.matrix_examples(fits, logits, components, length), model)


def prefixes(table: str, models: Sequence[str]) -> Figure:
    """The fit and its additivity against the number of first tokens, from prefixes.csv."""
    return plot_prefixes(summary.by_prefix(table), models)


def distance(components: Sequence[str], models: Sequence[str]) -> Figure:
    """The distance component by depth, from components/."""
    found = summary.distance_by_depth(components)
    return plot_distance({model: found[model] for model in models})


def scale(table: str) -> Figure:
    """What was found of every model against its number of parameters, from scale.csv."""
    return plot_scale(tables.from_csv(table))
