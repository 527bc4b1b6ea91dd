"""The figures of tolerance: what perturbed order costs, by fraction, by layer, and by head."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from triaxis.base.query import Columns, where
from triaxis.report.style import BLUE, GREEN, GREY, VERMILION, WIDTH, count_axis, filled, trained_and_control
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
    figure, panels = plt.subplots(
        len(pairs), 2, figsize=(WIDTH, 2.5 * len(pairs)), squeeze=False, sharey="row", sharex=True
    )
    for panel, model in filled(panels, pairs):
        for perturbation, curve in ratios[model].items():
            colour = COLOURS[perturbation]
            panel.plot(curve.fraction, curve.value, "o-", color=colour, markersize=3, label=perturbation)
            panel.fill_between(curve.fraction, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
        panel.set_yscale("log", base=2)
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        mark_fractions(panel, next(iter(ratios[model].values())).fraction)
        panel.set_title(model)
        panel.axhline(1, color=GREY, linewidth=0.5, zorder=0)
    for row in panels:
        row[0].set_ylabel("perplexity ratio")
        row[0].legend(loc="upper left")
    return figure


def plot_cosines(cosines: Mapping[tuple[str, str], tuple[Array, NDArray[np.integer], Array]]) -> Figure:
    """Cosine of perturbed and plain attention output by layer, a line a fraction, a panel a (model, perturbation)."""
    models, perturbations = (list(dict.fromkeys(key[n] for key in cosines)) for n in (0, 1))
    perturbations = [perturbation for perturbation in COLOURS if perturbation in perturbations]
    figure, panels = plt.subplots(
        len(models),
        len(perturbations),
        figsize=(WIDTH, 1.9 * len(models) + 0.4),
        squeeze=False,
        sharex="row",
        sharey="row",
    )
    fractions = np.unique(np.concatenate([fractions[fractions > 0] for fractions, _, _ in cosines.values()]))
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.95, len(fractions)))
    for row, model in zip(panels, models, strict=True):
        for panel, perturbation in zip(row, perturbations, strict=True):
            own, layers, values = cosines[model, perturbation]
            for fraction, line in zip(own, values, strict=True):
                if fraction > 0:
                    colour = colours[np.searchsorted(fractions, fraction)]
                    panel.plot(layers, line, "o-", color=colour, markersize=1.5, label=f"{fraction:g}")
            panel.set_title(f"{model}, {perturbation}" if perturbation == perturbations[0] else perturbation)
            count_axis(panel, "layer")
        row[0].set_ylabel("cosine of attention output")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, title="p", loc="outside right center")
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
    for panel, (name, unit, title) in zip(panels[1:], shown, strict=True):
        for cost, (colour, shift, label) in COSTS.items():
            own = where(ranks[unit], cost=cost)
            errors = np.maximum(np.stack([own[name] - own[f"{name}_low"], own[f"{name}_high"] - own[name]]), 0)
            places = np.arange(len(order)) + shift
            panel.errorbar(own[name], places, xerr=errors, fmt="o", color=colour, markersize=3, label=label)
        panel.axvline(0, color=GREY, linewidth=0.5, zorder=0)
        panel.set(xlim=(-1.05, 1.05), title=title, yticks=np.arange(len(order)), yticklabels=[])
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
