"""The figures of tolerance: what perturbed order costs, by fraction, by layer, and by head."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from triaxis.base.query import Columns, where
from triaxis.report.style import (
    BLUE,
    GREEN,
    GREY,
    VERMILION,
    WIDTH,
    filled,
    legend_above,
    name_row,
    panel_grid,
    title,
    trained_and_control,
)
from triaxis.tolerance import summary
from triaxis.tolerance.summary import Curve

Array = NDArray[np.floating]

COLOURS = {"text": BLUE, "position": VERMILION, "feature": GREEN}
# Han & Ji 2025: little changes up to the first, much above the second.
PAPER = (0.05, 0.1)


def mark_fractions(panel: Axes, fractions: Array) -> None:
    """An axis of fractions on which 0 and small ones are apart, with the paper's two marked."""
    smallest = float(min(fractions[fractions > 0], default=0.01))
    panel.set_xscale("symlog", linthresh=smallest, linscale=0.5)
    panel.set_xticks(fractions, [f"{fraction:g}" for fraction in fractions])
    panel.xaxis.set_minor_locator(NullLocator())
    for fraction in PAPER:
        panel.axvline(fraction, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    panel.set_xlim(0, 1.1)
    panel.set_xlabel("fraction of words moved, p")


def plot_tolerance(ratios: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Perplexity, relative to the plain run's, by fraction: all perturbations in one panel a model; ratios: model ->
    perturbation."""
    pairs = trained_and_control(list(ratios))
    figure, panels = panel_grid(len(pairs), 2, 2.3, above=0.9, share_x="all", share_y="all", least=0.7)
    for panel, model in filled(panels, pairs):
        for perturbation, curve in ratios[model].items():
            colour = COLOURS[perturbation]
            panel.plot(curve.fraction, curve.value, "o-", color=colour, markersize=2.5)
            panel.fill_between(curve.fraction, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
        panel.set_yscale("log", base=2)
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        mark_fractions(panel, next(iter(ratios[model].values())).fraction)
        panel.set_xlabel("")
        title(panel, model)
        panel.axhline(1, color=GREY, linewidth=0.5, zorder=0)
    figure.supylabel("perplexity ratio", fontsize=8)
    figure.supxlabel("fraction of words moved, p", fontsize=8)
    shown = [name for name in COLOURS if any(name in own for own in ratios.values())]
    legend_above(figure, [Line2D([], [], color=COLOURS[name], marker="o", markersize=2.5) for name in shown], shown)
    return figure


def plot_cosines(cosines: Mapping[tuple[str, str], tuple[Array, NDArray[np.integer], Array]]) -> Figure:
    """Cosine of perturbed and plain attention output by layer, a line a fraction, a panel a (model, perturbation)."""
    models, perturbations = (list(dict.fromkeys(key[n] for key in cosines)) for n in (0, 1))
    perturbations = [perturbation for perturbation in COLOURS if perturbation in perturbations]
    figure, panels = panel_grid(
        len(models), len(perturbations), 1.8, above=1.0, share_x="model", share_y="all", least=0.6
    )
    fractions = np.unique(np.concatenate([fractions[fractions > 0] for fractions, _, _ in cosines.values()]))
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.95, len(fractions)))
    for row, model in zip(panels, models, strict=True):
        for panel, perturbation in zip(row, perturbations, strict=True):
            own, layers, values = cosines[model, perturbation]
            for fraction, line in zip(own, values, strict=True):
                if fraction > 0:
                    panel.plot(layers, line, "o-", color=colours[np.searchsorted(fractions, fraction)], markersize=1.2)
            panel.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
            panel.text(0.03, 0.03, perturbation, transform=panel.transAxes, fontsize=5.5)
        name_row(row, model)
    figure.supxlabel("layer", fontsize=8)
    figure.supylabel("cosine of attention output", fontsize=8)
    handles = [Line2D([], [], color=colour, marker="o", markersize=2) for colour in colours]
    legend_above(figure, handles, [f"p = {fraction:g}" for fraction in fractions])
    return figure


# Cost of a head or layer -> how it is drawn and called.
COSTS = {"kl": (BLUE, -0.15, "KL from the plain run"), "loss_added": (VERMILION, 0.15, "loss added")}


def plot_predictors(heads: Columns, ranks: Mapping[str, Columns]) -> Figure:
    """KL that wrong distances in each head cause, by what f predicts from other text; and the rank correlation of each
    predictor with the cost, over all heads, within layers, and over layers.

    heads: columns of tolerance_heads.csv, of one model's heads. ranks: unit -> columns of tolerance_predictors.csv.
    """
    figure, panels = plt.subplots(1, 4, figsize=(WIDTH, 2.6), width_ratios=(5, 3, 3, 3))
    drawn = (heads["f"] > 0) & (heads["kl"] > 0)
    points = panels[0].scatter(
        *(heads[name][drawn] for name in ("f", "kl")), c=heads["layer"][drawn], s=7, cmap="viridis"
    )
    panels[0].set(xscale="log", yscale="log", xlabel="predicted from f (nats of the attention)", ylabel="KL (nats)")
    figure.colorbar(points, ax=panels[0], label="layer", ticks=MaxNLocator(integer=True))
    order = ranks["head"]["predictor"][ranks["head"]["cost"] == "kl"].tolist()
    shown = (("rank", "head", "all heads"), ("within", "head", "within layers"), ("rank", "layer", "layers"))
    for panel, (name, unit, told) in zip(panels[1:], shown, strict=True):
        for cost, (colour, shift, label) in COSTS.items():
            own = where(ranks[unit], cost=cost)
            errors = np.maximum(np.stack([own[name] - own[f"{name}_low"], own[f"{name}_high"] - own[name]]), 0)
            places = np.arange(len(order)) + shift
            panel.errorbar(own[name], places, xerr=errors, fmt="o", color=colour, markersize=3, label=label)
        panel.axvline(0, color=GREY, linewidth=0.5, zorder=0)
        panel.set(xlim=(-1.05, 1.05), title=told, yticks=np.arange(len(order)), yticklabels=[])
        panel.invert_yaxis()
    panels[1].set_yticklabels([name.replace("_", " ") for name in order])
    panels[2].set_xlabel("rank correlation with the cost")
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower right", ncols=2)
    return figure


def tolerance(table: str, models: Sequence[str]) -> Figure:
    """Perplexity by the fraction of words moved, each perturbation, with intervals, from tolerance.csv."""
    curves = summary.curves(table)
    return plot_tolerance({model: curves[model] for model in models})


def cosines(cosines: Sequence[str], models: Sequence[str]) -> Figure:
    """How far each layer's attention output turns when order is perturbed, from cosines/."""
    found = summary.cosines(cosines)
    return plot_cosines({key: own for key, own in found.items() if key[0] in models})


def predictors(heads: str, ranks: str, model: str) -> Figure:
    """What predicts the cost of a head of one model, from tolerance_heads.csv and tolerance_predictors.csv."""
    return plot_predictors(summary.head_costs(heads)[model], summary.predictor_ranks(ranks)[model])
