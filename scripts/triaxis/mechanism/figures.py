"""The figures of the mechanism: where f, g and what is neither live."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from triaxis.base.names import is_control
from triaxis.base.stats import finite_mean
from triaxis.mechanism import summary
from triaxis.mechanism.names import OWN, SCRAMBLED, SHARES
from triaxis.mechanism.summary import Dummies, Pairs
from triaxis.mechanism.surface import Surface, typical_surface
from triaxis.report.style import (
    BLUE,
    GREEN,
    GREY,
    LEAST,
    ORANGE,
    PAGE,
    VERMILION,
    WIDTH,
    colour_of,
    draw_map,
    filled,
    legend_above,
    name_map,
    panel_grid,
    say,
    title,
    trained_and_control,
)

# A line for each frequency table of a model.
LINES, MARKS = ("-", "--", ":", "-."), ("o", "s", "^", "d")


def _draw_tables(panel: Axes, own: Sequence[Pairs], name: str, colour: str, dashed: bool = False) -> None:
    """A line, and a band where there is an interval, for each frequency table of one model."""
    for number, table in enumerate(own):
        style, mark = "--" if dashed else LINES[number % len(LINES)], MARKS[number % len(MARKS)]
        panel.plot(table.turns, table.values[name], style, color=colour, marker=mark, markersize=2)
        low, high = (table.values[f"{name}{end}"] for end in ("_low", "_high"))
        panel.fill_between(table.turns, low, high, color=colour, alpha=0.25, linewidth=0)


def _keys(pairs: Mapping[str, Sequence[Pairs]], lines: Mapping[str, Mapping[str, Any]]) -> list[Line2D]:
    """Entries of the legend: the lines, where pairs turn once, and which layers have which frequency table, where
    models have several."""
    keys = [Line2D([], [], label=name, **look) for name, look in lines.items()]
    keys.append(Line2D([], [], color="black", linewidth=0.5, linestyle=":", label="one turn"))
    several = {
        (number, table.first_layer, table.layers): model
        for model, own in pairs.items()
        for number, table in enumerate(own)
        if len(own) > 1
    }
    for number, first, layers in several:
        look: dict[str, Any] = {"linestyle": LINES[number % len(LINES)], "marker": MARKS[number % len(MARKS)]}
        keys.append(Line2D([], [], color=GREY, markersize=2, label=f"layers like {first}: {layers}", **look))
    return keys


def plot_pairs(pairs: Mapping[str, Sequence[Pairs]]) -> Figure:
    """Norm share and key constancy of each pair against how often it turns over the context, trained against random.

    A model has a line for each of its frequency tables; a band is an interval over sequences.
    """
    rows = trained_and_control(list(pairs))
    figure, panels = panel_grid(len(rows), 2, 2.2, above=0.9, share_x="all", least=0.7)
    sides = {"trained": BLUE, "random weights": ORANGE}
    for row, models in zip(panels, rows, strict=True):
        for panel, name in zip(row, ("norm_share", "key_constancy"), strict=True):
            for model, colour in zip(models, sides.values(), strict=True):
                if model is not None:
                    _draw_tables(panel, pairs[model], name, colour, dashed=model != models[0])
            panel.axvline(1, color="black", linewidth=0.5, linestyle=":")
            panel.set_xscale("log")
            title(panel, f"{models[0]}, {name.replace('_', ' ')}")
    # Shares of all models on one axis.
    most = max(panel.get_ylim()[1] for panel in panels[:, 0])
    for share, constancy in panels:
        share.set_ylim(0, most)
        constancy.set_ylim(0, 1.02)
    figure.supxlabel("turns over the context", fontsize=8)
    shown = [name for n, name in enumerate(sides) if any(models[n] for models in rows)]
    looks = {name: {"color": sides[name], "linestyle": "-" if name == "trained" else "--"} for name in shown}
    keys = _keys(pairs, looks)
    legend_above(figure, keys, [str(key.get_label()) for key in keys])
    return figure


def plot_contributions(pairs: Mapping[str, Sequence[Pairs]]) -> Figure:
    """Where along the frequency axis f, g and the interaction live: shares of the variance of the logits, all on one
    axis.

    A model has a line for each of its frequency tables, and its totals over all of them in its title; a band is an
    interval over sequences.
    """
    rows = trained_and_control(list(pairs))
    figure, panels = panel_grid(len(rows), 2, 2.2, above=0.9, share_x="all", share_y="all", least=0.7)
    parts = {"f": ("f: position", BLUE), "g": ("g: meaning", GREEN), "interaction": ("interaction", VERMILION)}
    for panel, model in filled(panels, rows):
        own = pairs[model]
        for name, (_, colour) in parts.items():
            _draw_tables(panel, own, name, colour)
        panel.axvline(1, color="black", linewidth=0.5, linestyle=":")
        panel.axhline(0, color="black", linewidth=0.5)
        panel.set_xscale("log")
        totals = {name: sum(table.values[name].sum() for table in own) for name in parts}
        told = ", ".join(f"{name} {total:.2f}" for name, total in totals.items())
        title(panel, f"{model}\n{told}")
    figure.supylabel("share of the logits' variance", fontsize=8)
    figure.supxlabel("turns over the context", fontsize=8)
    keys = _keys(pairs, {label: {"color": colour} for label, colour in parts.values()})
    legend_above(figure, keys, [str(key.get_label()) for key in keys])
    return figure


def plot_surface(surface: Surface, title: str) -> Figure:
    """The logits of one query over distance and key, beside f + g and the difference; keys sorted by g."""
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 2.3), sharey=True)
    low, high = np.percentile(surface.logits, [0.5, 99.5])
    difference = surface.logits - surface.additive
    extent = (0, surface.logits.shape[1], float(surface.distances[-1]), float(surface.distances[0]))
    for panel, values, name, colours, least, most in (
        (panels[0], surface.logits, "logits w(d, q, k)", "viridis", low, high),
        (panels[1], surface.additive, "f(q, d) + g(q, k)", "viridis", low, high),
        # On the scale of the logits: what is left is seen as large as it is.
        (panels[2], difference, "difference", "PuOr", -(high - low) / 2, (high - low) / 2),
    ):
        image = panel.imshow(values, vmin=least, vmax=most, cmap=colours, aspect="auto", extent=extent)
        panel.set(title=name, xlabel="keys, sorted by g")
        figure.colorbar(image, ax=panel, pad=0.02)
    panels[0].set_ylabel("dummy distance (tokens)")
    figure.suptitle(title, fontsize=8)
    return figure


# Bands of more models than this would cover each other.
BANDS = 4


def plot_dummies(dummies: Mapping[str, Dummies], models: Sequence[str]) -> Figure:
    """How the key component stays when all distances are replaced by one: the median over heads, and of a few models
    the quartiles. A colour a model; its control has the same, dashed."""
    figure, panel = plt.subplots(figsize=(WIDTH, 2.6))
    few = sum(not is_control(model) for model in models) <= BANDS
    for model, colour in colour_of(models).items():
        own = dummies[model]
        low, middle, high = own.key_correlation
        if few:
            panel.fill_between(own.distances + 1, low, high, color=colour, alpha=0.2, linewidth=0)
        line = "--" if is_control(model) else "-"
        panel.plot(own.distances + 1, middle, line, color=colour, label="" if is_control(model) else model)
    panel.set(xscale="log", xlabel="dummy distance + 1 (tokens)", ylabel="correlation of key components")
    panel.set_ylim(top=1.02)
    panel.margins(x=0.01)
    handles, labels = panel.get_legend_handles_labels()
    if any(map(is_control, models)):
        handles.append(Line2D([], [], color=GREY, linestyle="--"))
        labels.append("random weights, same colour")
    legend_above(figure, handles, labels)
    return figure


# (layers, heads) of each model, by name of SHARES, with the keys' phases as they are or scrambled.
Shares = Mapping[str, Mapping[str, Mapping[str, NDArray[np.floating]]]]


def plot_additive(shares: Shares, models: Sequence[str]) -> Figure:
    """The three numbers of additivity by layer and head, on the one scale of such maps: trained weights, the same with
    scrambled key phases, and random weights. A row a number; with many models, a row a model."""
    pairs = trained_and_control(models)
    columns = COLUMNS if any(control for _, control in pairs) else COLUMNS[:2]
    rows, wide = len(pairs) * len(SHARES), len(columns) * len(SHARES)
    if rows * LEAST + 0.6 <= PAGE:
        figure, grid = panel_grid(rows, len(columns), 1.35, above=0.6, share_x="all", share_y="model")
        panels, describe = grid.reshape(len(pairs), wide), _describe_numbers
    else:
        above = PAGE / 10
        figure, panels = panel_grid(len(pairs), wide, 1.0, above, share_x="model", share_y="model", least=0.3)
        describe = _describe_models
    for row, (model, control) in zip(panels, pairs, strict=True):
        shown = {"": (OWN, model), "key phases scrambled": (SCRAMBLED, model), "random weights": (OWN, control)}
        for panel, (name, column) in zip(row, product(SHARES, columns), strict=True):
            phases, which = shown[column]
            if which is None:
                panel.set_axis_off()
                continue
            draw_map(panel, shares[phases][name][which])
            mean = finite_mean(shares[phases][name][which])
            describe(panel, model, name, column, f"{mean:.3f}" if np.isfinite(mean) else "no values")
    for panel, (name, column) in zip(panels[0], product(SHARES, columns), strict=True):
        if describe is _describe_models:
            heading = f"{name}\n{column}".replace("_", " ").replace(" ", "\n")
            look: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 5.5}
            panel.annotate(heading, (0.5, 1), (0, 9), ha="center", va="bottom", **look)
    figure.supxlabel("layer", fontsize=8)
    figure.supylabel("head", fontsize=8)
    name_map(figure, panels, "of each head, over sequences and queries")
    return figure


# What plot_additive shows of each model.
COLUMNS = ("", "key phases scrambled", "random weights")


def _describe_numbers(panel: Axes, model: str, name: str, column: str, mean: str) -> None:
    """A row is one number of one model."""
    first = f"{column or model}\n" if name == next(iter(SHARES)) else ""
    title(panel, f"{first}mean {mean}")
    if not column:
        panel.set_ylabel(SHARES[name].replace(" independence", "\nindependence"))


def _describe_models(panel: Axes, model: str, name: str, column: str, mean: str) -> None:
    """A row is all numbers of one model, in small panels."""
    panel.set_title(mean, fontsize=5, pad=1.5)
    panel.tick_params(labelleft=False, labelsize=5, length=1.5, pad=1)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    if not column and name == next(iter(SHARES)):
        panel.set_ylabel(model, fontsize=5.5, rotation=0, ha="right", va="center")


def additive(table: str, models: Sequence[str]) -> Figure:
    """How additive logits are by layer and head, beside both nulls, from additive.csv."""
    shares = {
        phases: {name: summary.additive_by_head(table, name, phases) for name in SHARES} for phases in (OWN, SCRAMBLED)
    }
    return plot_additive(shares, models)


def pairs(table: str, models: Sequence[str]) -> Figure:
    """Norm share and key constancy by frequency, from pairs.csv."""
    own = summary.pairs_of(table)
    return plot_pairs({model: own[model] for model in models})


def contributions(table: str, models: Sequence[str]) -> Figure:
    """Where f, g and the interaction live along the frequency axis, from pairs.csv."""
    own = summary.pairs_of(table)
    return plot_contributions({model: own[model] for model in models})


def dummies(table: str, models: Sequence[str]) -> Figure:
    """The key component against the dummy distance, from dummies.csv."""
    return plot_dummies(summary.dummies_of(table), models)


def surface(additivity: str, features: str, rope: str, model: str, length: int) -> Figure:
    """The logits of one query of a model over dummy distance and key, beside f + g."""
    found = typical_surface(additivity, features, rope, length)
    if found is None:
        return say(f"{model}: no head's logits change with both distance and key")
    return plot_surface(found[0], f"{model}, {found[1]}")
