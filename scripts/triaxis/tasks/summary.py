"""The table of the tasks: accuracy by perturbation and fraction, with bootstrap intervals over items."""

from collections.abc import Sequence

import numpy as np

from triaxis.base import query
from triaxis.base.choices import PERTURBATIONS
from triaxis.base.query import Files
from triaxis.base.stats import interval, mean

MEASURES = ("accuracy", "chosen", "log_probability", "moved_fraction", "displacement")
BY_ITEM = f"""
SELECT model, task, perturbation, fraction, item, {", ".join(MEASURES)} FROM {query.stage()}
ORDER BY model, task, perturbation, fraction, item
"""


def by_condition(
    files: Files,
    models: Sequence[str],
    tasks: Sequence[str],
    candidates: int,
    samples: int,
    seed: int,
) -> list[dict]:
    """The rows of tasks.csv from all files of tasks/: one a (model, task, perturbation, fraction), means over items;
    accuracy and chosen with 95 % intervals, NaN where a task does not say. chance: of being chosen by a guess of
    `candidates`.
    """
    frame = query.columns(BY_ITEM, files=files)
    values = {name: frame[name].astype(float) for name in MEASURES}
    rows = []
    for model in models:
        for task in tasks:
            own = (frame["model"] == model) & (frame["task"] == task)
            for perturbation in sorted(set(frame["perturbation"][own]), key=PERTURBATIONS.index):
                for fraction in np.unique(frame["fraction"][own & (frame["perturbation"] == perturbation)]):
                    here = own & (frame["perturbation"] == perturbation) & (frame["fraction"] == fraction)
                    row = {"model": model, "task": task, "perturbation": perturbation, "fraction": float(fraction)}
                    row |= {"items": int(here.sum())}
                    for name in ("accuracy", "chosen"):
                        low, high = interval((values[name][here],), mean, samples, seed)
                        row |= {name: float(values[name][here].mean()), f"{name}_low": low, f"{name}_high": high}
                    chance = 1 / candidates if np.isfinite(row["chosen"]) else float("nan")
                    row |= {"chance": chance}
                    rows.append(row | {name: float(values[name][here].mean()) for name in MEASURES[2:]})
    return rows
