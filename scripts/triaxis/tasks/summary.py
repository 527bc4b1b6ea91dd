"""The table of the tasks: accuracy by perturbation and fraction, with intervals over items."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from triaxis.base import query
from triaxis.base.choices import PERTURBATIONS
from triaxis.base.query import Files
from triaxis.base.stats import interval, mean, share_interval

MEASURES = ("accuracy", "chosen", "log_probability", "moved_fraction", "displacement")
BY_ITEM = f"""
SELECT model, task, perturbation, fraction, item, candidates, {", ".join(MEASURES)} FROM {query.stage()}
ORDER BY model, task, perturbation, fraction, item
"""


def _interval(values: NDArray, samples: int, seed: int) -> tuple[float, float]:
    """Of a mean over items (items,): Wilson's where each is right or wrong, else by resampling; NaN of NaN."""
    if np.isin(values, (0, 1)).all():
        return share_interval(int(values.sum()), len(values))
    return interval((values,), mean, samples, seed) if np.isfinite(values).all() else (float("nan"), float("nan"))


def by_condition(
    files: Files,
    models: Sequence[str],
    tasks: Sequence[str],
    samples: int,
    seed: int,
) -> list[dict]:
    """The rows of tasks.csv from all files of tasks/: one a (model, task, perturbation, fraction), means over items;
    accuracy and chosen with 95 % intervals, NaN where a task does not say. chance: of a guess among the candidates that
    each item has, which may be fewer than `tasks.candidates`.
    """
    frame = query.columns(BY_ITEM, files=files)
    values = {name: frame[name].astype(float) for name in ("candidates", *MEASURES)}
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
                        low, high = _interval(values[name][here], samples, seed)
                        row |= {name: float(values[name][here].mean()), f"{name}_low": low, f"{name}_high": high}
                    row |= {"chance": float(np.mean(1 / values["candidates"][here]))}
                    rows.append(row | {name: float(values[name][here].mean()) for name in MEASURES[2:]})
    return rows
