"""The figure of the tasks: accuracy against the fraction of words moved, a line a perturbation."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from triaxis.base import tables
from triaxis.base.names import control_of
from triaxis.report.style import GREY, WIDTH
from triaxis.tolerance.figures import COLOURS, mark_fractions

LABELS = {"accuracy": "accuracy", "chosen": "chosen among candidates"}
APART = 0.04  # how far apart, in decades, the intervals of one fraction are drawn

Row = dict[str, Any]


def plot_tasks(rows: Sequence[Row], model: str, control: str) -> Figure:
    """rows: of tasks.csv, numbers as float. A column a task: above, the share answered right; below, for tasks with
    candidates, the share chosen, beside chance."""
    by_task = {
        task: [row for row in rows if row["task"] == task] for task in dict.fromkeys(row["task"] for row in rows)
    }
    panels_of = {
        task: ["accuracy", "chosen"] if any(np.isfinite(row["chosen"]) for row in own) else ["accuracy"]
        for task, own in by_task.items()
    }
    height = max(map(len, panels_of.values()))
    size = (min(WIDTH, 1.5 + 2.75 * len(by_task)), 0.5 + 1.9 * height)
    figure, panels = plt.subplots(height, len(by_task), figsize=size, squeeze=False, sharex=True, sharey=True)
    legend: dict[str, Any] = {}
    for (task, own), column in zip(by_task.items(), panels.T, strict=True):
        column[0].set_title(task)
        for panel, measure in zip(column, panels_of[task], strict=False):
            _draw(panel, own, model, control, measure)
            panel.set(xlabel="", ylabel=LABELS[measure] if panel in panels[:, 0] else "")
            legend |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
        for panel in column[len(panels_of[task]) :]:
            panel.set_axis_off()
        lowest = column[len(panels_of[task]) - 1]
        lowest.tick_params(labelbottom=True)
        if len(by_task) > 2:
            lowest.tick_params(axis="x", labelsize=5.5)
        lowest.set_xlabel("fraction of words moved, p")
    figure.legend(legend.values(), legend.keys(), ncols=len(legend), loc="outside upper center")
    return figure


def _draw(panel: Axes, rows: Sequence[Row], model: str, control: str, measure: str) -> None:
    for number, (perturbation, colour) in enumerate(COLOURS.items()):
        own = [row for row in rows if row["model"] == model and row["perturbation"] == perturbation]
        if not own:
            continue
        fraction, value, low, high = (
            np.array([row[name] for row in own]) for name in ("fraction", measure, f"{measure}_low", f"{measure}_high")
        )
        # None where there is no interval. Wilson's holds its share; what rounding makes of the difference may not be
        # below 0.
        errors = np.maximum(np.stack([value - low, high - value]), 0)
        places = fraction * 10 ** (APART * (number - 1))
        panel.errorbar(
            places, value, yerr=errors, fmt="o-", color=colour, markersize=2.5, elinewidth=0.6, label=perturbation
        )
    mark_fractions(panel, np.unique([row["fraction"] for row in rows]))
    guesses = [row[measure] for row in rows if row["model"] == control]
    if guesses:
        # It guesses whatever is done to it: one line, the mean of all conditions.
        panel.axhline(np.mean(guesses), color=GREY, linewidth=0.8, linestyle="--", label="random weights")
    if measure == "chosen":
        chance = next(row["chance"] for row in rows if row["model"] == model)
        panel.axhline(chance, color="black", linewidth=0.8, linestyle=":", label="chance")
    panel.set(xlim=(-0.002, 1.3), ylim=(-0.04, 1.04))


def tasks(table: str, model: str) -> Figure:
    """A model's accuracy on the tasks against the fraction of words perturbed, from tasks.csv."""
    return plot_tasks(tables.from_csv(table), model, control_of(model))
