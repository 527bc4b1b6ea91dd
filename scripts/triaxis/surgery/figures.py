"""The figures of the surgery: what a model loses when its logits become a sum of position and meaning."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from triaxis.report.style import BLUE, GREEN, GREY, ORANGE, VERMILION, WIDTH, count_axis
from triaxis.surgery import summary
from triaxis.surgery.summary import Losses, Steps

CYCLE = (BLUE, ORANGE, GREEN, VERMILION, GREY)


def plot_surgery(losses: Mapping[str, Losses]) -> Figure:
    """Loss of each variant, all layers replaced, with its interval over sequences."""
    figure, panel = plt.subplots(figsize=(WIDTH * 0.7, 2.6))
    order = list(next(iter(losses.values())).variants)
    for number, (model, own) in enumerate(losses.items()):
        colour = CYCLE[number % len(CYCLE)]
        shift = 0.15 * (number - (len(losses) - 1) / 2)
        places = shift + np.array([order.index(variant) for variant in own.variants])
        errors = np.abs(np.stack([own.loss - own.low, own.high - own.loss]))
        panel.errorbar(own.loss, places, xerr=errors, fmt="o", color=colour, markersize=3.5, label=model)
    panel.set_yticks(np.arange(len(order)), order)
    panel.invert_yaxis()
    panel.set_xlabel("loss (nats a token)")
    panel.grid(axis="x", linewidth=0.3)
    panel.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
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
    heads.legend()
    return figure


def surgery(table: str, models: Sequence[str]) -> Figure:
    """The loss of each additive variant, all layers replaced, from surgery.csv."""
    return plot_surgery(summary.surgery_losses(table, models))


def steps(surgery: str, model: str, variant: str) -> Figure:
    """The loss of one variant layer by layer, from both ends, and head by head, from a model's file of surgery/."""
    return plot_steps(summary.surgery_steps(surgery, variant))
