"""What foretells, over checkpoints, what a model loses where order or length are not those of its training.

Rank correlations of each measure with each loss, beside that of the plain loss: a better model is better at everything,
so that a criterion has to rank checkpoints better than their loss does. docs/method/training.md, "Criteria".
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triaxis.base.names import entry_of, series_of, step_of
from triaxis.base.stats import interval, rank_correlation
from triaxis.training.summary import BEYOND, DISPLACED, LOSS

Array = NDArray[np.float64]

COSTS = (DISPLACED, BEYOND)
# The paper's account names all but the last two; the loss is the baseline.
MEASURES = (
    LOSS,
    "key_independence",
    "distance_independence",
    "interaction",
    "slow_norm_share",
    "distance_spread",
    "entropy",
)
# Untrained checkpoints have a high loss and little to lose, and could make a rank by themselves.
ALL, LATER = "all", "later half"
# With fewer checkpoints a rank correlation says nothing.
FEWEST = 3


def criteria(rows: Sequence[Mapping[str, Any]], samples: int, seed: int) -> list[dict]:
    """The rows of criteria.csv, one a (entry, among, cost, measure), from those of training.csv.

    among: all checkpoints of an entry and its seeds, or the later half of each seed's. rank: Spearman's correlation of
    measure and cost over them; ahead: how much more closely it ranks them than the loss does, |rank| less that of the
    loss. Both with 95 % bootstrap intervals over checkpoints, and NaN for fewer than FEWEST. A checkpoint that lacks
    the measure or the cost is left out, and a cost that all of them lack has no rows.
    """
    values: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        if row["layer"] is None or row["layer"] != row["layer"]:
            values.setdefault(entry_of(row["model"]), {}).setdefault(row["model"], {})[row["measure"]] = row["value"]
    found = []
    for entry, checkpoints in values.items():
        for among, models in ((ALL, list(checkpoints)), (LATER, later_half(checkpoints))):
            for cost in COSTS:
                for measure in MEASURES:
                    names = (measure, LOSS, cost)
                    own = (checkpoints[model] for model in models)
                    known = [[one[name] for name in names] for one in own if one.keys() >= set(names)]
                    if known:
                        row = {"entry": entry, "among": among, "cost": cost, "measure": measure}
                        found.append(row | _ranks(np.array(known).T, samples, seed))
                        if measure == LOSS:
                            found[-1]["verdict"] = "the baseline"
    return found


def later_half(checkpoints: Iterable[str]) -> list[str]:
    """Of each series the half of its checkpoints with the most training behind them, the middle one among them."""
    by_series: dict[str | None, list[str]] = {}
    for model in checkpoints:
        by_series.setdefault(series_of(model), []).append(model)
    ordered = (sorted(own, key=lambda model: step_of(model) or 0) for own in by_series.values())
    return [model for own in ordered for model in own[len(own) // 2 :]]


def _ranks(columns: Array, samples: int, seed: int) -> dict[str, Any]:
    """The numbers of a row; columns (3, checkpoints): the measure, the loss and the cost."""
    measure, _, cost = columns
    found: dict[str, Any] = {"checkpoints": len(cost)}
    for name, statistic, own in (("rank", rank_correlation, (measure, cost)), ("ahead", ahead, tuple(columns))):
        value, ends = float("nan"), (float("nan"), float("nan"))
        if len(cost) >= FEWEST:
            value, ends = float(statistic(*own)), interval(own, statistic, samples, seed)
        found |= {name: value, f"{name}_low": ends[0], f"{name}_high": ends[1]}
    return found | {"verdict": verdict(found["ahead_low"], found["ahead_high"])}


def ahead(measure: Array, loss: Array, cost: Array, axis: int = -1) -> Array:
    """How much more closely a measure ranks the costs than the loss does, whichever way it points."""
    return np.abs(rank_correlation(measure, cost)) - np.abs(rank_correlation(loss, cost))


def verdict(low: float, high: float) -> str:
    """How a measure stands to the loss, by the interval of `ahead`."""
    return "better than the loss" if low > 0 else "worse than the loss" if high < 0 else "not told apart"
