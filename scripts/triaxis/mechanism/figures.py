"""The figures of the mechanism: where f, g and what is neither live."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from triaxis.base.stats import finite_mean
from triaxis.mechanism import summary
from triaxis.mechanism.names import OWN, SCRAMBLED, SHARES
from triaxis.mechanism.summary import Dummies, Pairs
from triaxis.mechanism.surface import Surface, typical_surface
from triaxis.report.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILION,
    WIDTH,
    count_axis,
    filled,
    say,
    trained_and_control,
)

# A line for each frequency table of a model.
LINES = ("o-", "s--", "^:", "d-.")


def _draw_tables(panel: Axes, own: Sequence[Pairs], name: str, colour: str, label: str) -> None:
    """A line for each frequency table of one model, the first of them with the label."""
    for number, table in enumerate(own):
        named, style = label if number == 0 else None, LINES[number % len(LINES)]
        panel.plot(table.turns, getattr(table, name), style, color=colour, markersize=2.5, label=named)


def _name_tables(panel: Axes, own: Sequence[Pairs]) -> None:
    """Entries of the legend that say which layers have which frequency table, where a model has several."""
    for number, table in enumerate(own if len(own) > 1 else []):
        label = f"layers like {table.first_layer}: {table.layers}"
        panel.plot([], [], LINES[number % len(LINES)], color=GREY, markersize=2.5, label=label)


def plot_pairs(pairs: Mapping[str, Sequence[Pairs]]) -> Figure:
    """Norm share and key constancy of each pair against how often it turns over the context, trained against random.

    A model has a line for each of its frequency tables.
    """
    rows = trained_and_control(list(pairs))
    figure, panels = plt.subplots(len(rows), 2, figsize=(WIDTH, 2.4 * len(rows)), squeeze=False, sharex=True)
    for row, models in zip(panels, rows, strict=True):
        for panel, (name, label) in zip(
            row, (("norm_share", "share of the norm"), ("key_constancy", "key constancy")), strict=True
        ):
            for model, colour in zip(models, (BLUE, ORANGE), strict=True):
                if model is not None:
                    _draw_tables(panel, pairs[model], name, colour, model)
            _name_tables(panel, pairs[models[0]])
            panel.axvline(1, color="black", linewidth=0.5, linestyle=":")
            panel.set(xscale="log", ylabel=label)
            panel.set_ylim(bottom=0)
        row[0].legend(loc="best")
    for panel in panels[-1]:
        panel.set_xlabel("turns over the context")
    return figure


def plot_contributions(pairs: Mapping[str, Sequence[Pairs]]) -> Figure:
    """Where along the frequency axis f, g and the interaction live: shares of the variance of the logits.

    A model has a line for each of its frequency tables; totals are over all of them.
    """
    rows = trained_and_control(list(pairs))
    figure, panels = plt.subplots(
        len(rows), 2, figsize=(WIDTH, 2.4 * len(rows)), squeeze=False, sharex=True, sharey="row"
    )
    for panel, model in filled(panels, rows):
        own = pairs[model]
        for name, label, colour in (
            ("f", "f: position", BLUE),
            ("g", "g: meaning", GREEN),
            ("interaction", "interaction", VERMILION),
        ):
            total = sum(getattr(table, name).sum() for table in own)
            _draw_tables(panel, own, name, colour, f"{label}, {total:.3f}")
        _name_tables(panel, own)
        panel.axvline(1, color="black", linewidth=0.5, linestyle=":")
        panel.axhline(0, color="black", linewidth=0.5)
        panel.set(xscale="log", title=model)
        panel.legend()
    for row in panels:
        row[0].set_ylabel("share of the logits' variance")
    for panel in panels[-1]:
        panel.set_xlabel("turns over the context")
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


def plot_dummies(dummies: Mapping[str, Dummies], models: Sequence[str]) -> Figure:
    """How the key component stays when all distances are replaced by one: median and quartiles over heads."""
    figure, panel = plt.subplots(figsize=(WIDTH / 2, 2.3))
    for number, model in enumerate(models):
        own, colour = dummies[model], (BLUE, ORANGE, GREEN, VERMILION)[number % 4]
        low, middle, high = own.key_correlation
        panel.fill_between(own.distances + 1, low, high, color=colour, alpha=0.25, linewidth=0)
        panel.plot(own.distances + 1, middle, color=colour, label=model)
    panel.set(xscale="log", xlabel="dummy distance + 1 (tokens)", ylabel="correlation of key components")
    panel.set_ylim(top=1.02)
    panel.margins(x=0.01)
    panel.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


# (layers, heads) of each model, by name of SHARES, with the keys' phases as they are or scrambled.
Shares = Mapping[str, Mapping[str, Mapping[str, NDArray[np.floating]]]]


def plot_additive(shares: Shares, models: Sequence[str]) -> Figure:
    """The three numbers of additivity by layer and head, a row each, on one scale: trained weights, the same with
    scrambled key phases, and random weights.

    A head without a value (NaN) is left white.
    """
    rows = [(*pair, name) for pair in trained_and_control(models) for name in SHARES]
    size = (WIDTH, 0.6 + 1.35 * len(rows))
    figure, panels = plt.subplots(len(rows), 3, figsize=size, squeeze=False, sharex="row", sharey="row")
    for row, (model, control, name) in zip(panels, rows, strict=True):
        columns = ((OWN, model, model), (SCRAMBLED, model, "the same, key phases scrambled"), (OWN, control, control))
        for panel, (phases, shown, title) in zip(row, columns, strict=True):
            if shown is None:
                panel.set_axis_off()
                continue
            values = shares[phases][name][shown]
            panel.imshow(values.T, vmin=0, vmax=1, cmap="cividis", aspect="auto")
            mean = finite_mean(values)
            told = f"mean {mean:.3f}" if np.isfinite(mean) else "no values"
            panel.set_title(f"{title}\n{told}" if name == next(iter(SHARES)) else told)
            count_axis(panel, "layer")
        row[0].set_ylabel(f"{SHARES[name]}\nhead".replace(" independence", "\nindependence"))
        row[0].yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    label = "of each head, averaged over sequences and queries"
    figure.colorbar(panels[0, 0].images[0], ax=panels, label=label, shrink=min(1, 2 / len(rows)), pad=0.01)
    return figure


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
