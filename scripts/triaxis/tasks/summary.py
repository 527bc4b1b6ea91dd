"""The table of the tasks: accuracy by perturbation and fraction, with intervals over items."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from triaxis.base.stats import interval, mean, share_interval

MEASURES = ("accuracy", "chosen", "log_probability", "moved_fraction", "displacement")
BY_ITEM = f"""
SELECT model, task, perturbation, fraction, item, candidates, {", ".join(MEASURES)}
FROM read_parquet($files, hive_partitioning = true, hive_types_autocast = false)
ORDER BY model, task, perturbation, fraction, item
"""


def _interval(values: NDArray, samples: int, seed: int) -> tuple[float, float]:
    """Of a mean over items (items,): Wilson's where each is right or wrong, else by resampling; NaN of NaN."""
    if np.isin(values, (0, 1)).all():
        return share_interval(int(values.sum()), len(values))
    return interval((values,), mean, samples, seed) if np.isfinite(values).all() else (float("nan"), float("nan"))


def by_condition(
    files: Sequence[str | Path],
    models: Sequence[str],
    tasks: Sequence[str],
    samples: int,
    seed: int,
) -> list[dict]:
    """The rows of tasks.csv from all files of tasks/: one a (model, task, perturbation, fraction), means over items;
    accuracy and chosen with 95 % intervals, NaN where a task does not say. chance: of a guess among the candidates that
    each item has, which may be fewer than `tasks.candidates`.
    """
    with duckdb.connect(config={"threads": 2}) as connection:
        table = connection.sql(BY_ITEM, params={"files": [str(file) for file in files]}).to_arrow_table()
    frame = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    values = {name: frame[name].astype(float) for name in ("candidates", *MEASURES)}
    rows = []
    for model in models:
        for task in tasks:
            own = (frame["model"] == model) & (frame["task"] == task)
            for perturbation in sorted(set(frame["perturbation"][own]), key=("text", "position", "feature").index):
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


def read_conditions(table: str | Path) -> list[dict[str, Any]]:
    """The rows of tasks.csv, numbers as float, NaN where there is none."""
    with open(table) as file:
        return [
            {
                name: value if name in ("model", "task", "perturbation") else float(value or "nan")
                for name, value in row.items()
            }
            for row in csv.DictReader(file)
        ]
