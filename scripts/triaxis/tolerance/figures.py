"""The figures of tolerance: what perturbed order costs, by fraction, by layer, and as the mechanism predicts."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from triaxis.report.style import BLUE, GREEN, GREY, VERMILION, WIDTH, count_axis, filled, say, trained_and_control
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


def plot_link(heads: Mapping[str, Mapping[str, Array]], fraction: float) -> Figure:
    """Root mean square change of each head's logits, as f predicts it and as it is, at one fraction.

    heads: model -> layer, predicted, observed, each (heads of all layers,).
    """
    models: Sequence[str] = list(heads)
    if not models:
        return say("no head's logits change with the distances")
    columns = min(2, len(models))
    rows = -(-len(models) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(WIDTH, 3.1 * rows), squeeze=False)
    last = max(int(own["layer"].max()) for own in heads.values())
    for panel, model in zip(panels.flat, models, strict=False):
        own = heads[model]
        points = panel.scatter(
            own["predicted"], own["observed"], c=own["layer"], s=7, cmap="viridis", vmin=0, vmax=last
        )
        ends = np.array(
            [min(own["predicted"].min(), own["observed"].min()), max(own["observed"].max(), own["predicted"].max())]
        )
        panel.plot(ends, ends, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
        panel.set(xscale="log", yscale="log", xlabel="predicted from f alone (logits)", title="")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        r = np.corrcoef(own["predicted"], own["observed"])[0, 1]
        panel.set_title(f"{model}, r = {r:.3f} over heads")
        panel.set_aspect("equal")
    for panel in panels.flat[len(models) :]:
        panel.set_axis_off()
    for row in panels:
        row[0].set_ylabel(f"change of the logits at p = {fraction:g} (rms)")
    figure.colorbar(points, ax=panels, label="layer", shrink=0.8, pad=0.02, ticks=MaxNLocator(integer=True))
    return figure


def tolerance(table: str) -> Figure:
    """Perplexity by the fraction of words moved, each perturbation, with intervals, from tolerance.csv."""
    return plot_tolerance(summary.curves(table))


def cosines(cosines: Sequence[str]) -> Figure:
    """How far each layer's attention output turns when order is perturbed, from cosines/."""
    return plot_cosines(summary.cosines(cosines))


def link(links: Sequence[str], fraction: float) -> Figure:
    """The change of each head's logits as f alone predicts it, against the one that is seen, from links/."""
    return plot_link(summary.links(links, fraction), fraction)
