"""The figure of the tasks: accuracy against the fraction of words disturbed, way by way."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from triaxis.plots import BLUE, GREY, ORANGE, VERMILION, WIDTH

COLOURS = {"text": BLUE, "position": ORANGE, "feature": VERMILION}
LABELS = {"accuracy": "accuracy", "chosen": "chosen among candidates"}
NARROW = 0.12  # how far apart, in parts of a decade, the ways of one fraction are drawn

Row = dict[str, Any]


def plot_tasks(rows: Sequence[Row], model: str, control: str | None) -> Figure:
    """rows: of tasks.csv, numbers as float. A column a task: above, the share answered right; below, for tasks with
    candidates, the share chosen, beside chance."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    choice = {task for task in tasks if any(np.isfinite(row["chosen"]) for row in rows if row["task"] == task)}
    measures = ["accuracy", "chosen"] if choice else ["accuracy"]
    size = (min(WIDTH, 1.2 + 2.9 * len(tasks)), 0.6 + 1.9 * len(measures))
    figure, panels = plt.subplots(
        len(measures), len(tasks), figsize=size, squeeze=False, sharex=True, sharey="row", layout="constrained"
    )
    for row, measure in enumerate(measures):
        for column, task in enumerate(tasks):
            panel = panels[row, column]
            if measure == "chosen" and task not in choice:
                panel.set_axis_off()
                continue
            own = [each for each in rows if each["task"] == task]
            _draw(panel, own, model, control, measure)
            if row == 0:
                panel.set_title(task)
        panels[row, 0].set_ylabel(LABELS[measure])
    for panel in panels[-1]:
        panel.set_xlabel("fraction of words that moved")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, loc="outside upper center")
    return figure


def _draw(panel: Axes, rows: Sequence[Row], model: str, control: str | None, measure: str) -> None:
    for number, (way, colour) in enumerate(COLOURS.items()):
        own = [row for row in rows if row["model"] == model and row["way"] == way]
        if not own:
            continue
        fraction, value, low, high = (
            np.array([row[name] for row in own]) for name in ("fraction", measure, f"{measure}_low", f"{measure}_high")
        )
        errors = np.nan_to_num(np.abs(np.stack([value - low, high - value])))
        places = fraction * 10 ** (NARROW * (number - 1)) + 0.0015 * (number - 1) * (fraction == 0)
        panel.errorbar(places, value, yerr=errors, fmt="o-", color=colour, markersize=2.5, elinewidth=0.6, label=way)
    guesses = [row for row in rows if row["model"] == control]
    if guesses:
        # It guesses whatever is done to it: one line, the mean of all conditions.
        level = np.mean([row[measure] for row in guesses])
        panel.axhline(level, color=GREY, linewidth=0.8, linestyle="--", label="random weights")
    chance = rows[0]["chance"] if measure == "chosen" else 0.0
    panel.axhline(chance, color=GREY, linewidth=0.8, linestyle=":", label="chance")
    for mark in (0.05, 0.1):
        panel.axvline(mark, color=GREY, linewidth=0.4, zorder=0)
    panel.set_xscale("symlog", linthresh=0.01, linscale=0.5)
    panel.set_xticks([0, 0.01, 0.1, 1], ["0", "1 %", "10 %", "100 %"])
    panel.minorticks_off()
    panel.set(xlim=(-0.004, 1.6), ylim=(-0.04, 1.04))
