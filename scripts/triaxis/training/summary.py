"""The tables of what is learned, and when: every measure of each checkpoint, and the step at which it settles."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triaxis.base import query, tables
from triaxis.base.names import checkpoint_of, entry_of, series_of, step_of
from triaxis.base.query import Columns, Files
from triaxis.base.stats import mean_with_interval
from triaxis.mechanism.names import OWN
from triaxis.mechanism.summary import SLOW

Array = NDArray[np.float64]

LOSS = "loss"
# What a text that is not as in training costs: its words displaced, and at PAST times the training length.
DISPLACED, BEYOND = "displacement_cost", "loss_beyond"
# A measure has settled where it stays within this part of its whole range from where it ends.
NEAR = 0.1

# Each query gives a row a (model, sequence, layer), and one with layer null for all layers, with measures as columns.
BY_LAYER = "GROUP BY GROUPING SETS ((model, sequence, layer), (model, sequence))"

LOSSES = f"SELECT model, sequence, NULL AS layer, avg(loss) AS loss FROM {query.stage()} GROUP BY model, sequence"

FITS = f"""
SELECT model, sequence, layer, axes, avg(r ORDER BY layer, head) AS r, avg(adjusted_r2 ORDER BY layer, head) AS r2
FROM {query.stage()} WHERE prefix = $length
GROUP BY GROUPING SETS ((model, sequence, axes, layer), (model, sequence, axes))
"""

ADDITIVITY = f"""
SELECT model, sequence, layer,
       avg(r_additive ORDER BY layer, head, query) AS r_additive,
       avg(1 - r_additive * r_additive ORDER BY layer, head, query) AS interaction,
       avg(key_independence ORDER BY layer, head, query) AS key_independence,
       avg(distance_independence ORDER BY layer, head, query) AS distance_independence
FROM {query.stage()} WHERE prefix = $length AND phases = '{OWN}' AND first_token
{BY_LAYER}
"""

# Each head's pairs first: the share of the slowest in the norm, key constancy weighed by the norm, and the shares of f
# and g in the variance of the head's logits, unrotated dimensions included.
PATTERNS = f"""
WITH ranked AS (
    SELECT *, row_number() OVER (PARTITION BY model, sequence, layer, head ORDER BY pair IS NULL, abs(frequency), pair)
              AS rank,
           count(pair) OVER (PARTITION BY model, sequence, layer, head) AS pairs
    FROM {query.stage()} WHERE first_token
), heads AS (
    SELECT model, sequence, layer, head,
           sum(norm_share ORDER BY pair)
               FILTER (pair IS NOT NULL AND rank <= greatest(1, floor(pairs * {SLOW}))) AS slow_norm_share,
           sum(norm_share * key_constancy ORDER BY pair) FILTER (pair IS NOT NULL)
               / nullif(sum(norm_share ORDER BY pair) FILTER (pair IS NOT NULL), 0) AS key_constancy,
           sum(f_variance ORDER BY pair) / nullif(sum(f_variance + g_variance + interaction_variance ORDER BY pair), 0)
               AS f_share,
           sum(g_variance ORDER BY pair) / nullif(sum(f_variance + g_variance + interaction_variance ORDER BY pair), 0)
               AS g_share
    FROM ranked WHERE pairs > 0 GROUP BY model, sequence, layer, head
)
SELECT model, sequence, layer,
       avg(slow_norm_share ORDER BY layer, head) AS slow_norm_share,
       avg(key_constancy ORDER BY layer, head) AS key_constancy,
       avg(f_share ORDER BY layer, head) AS f_share,
       avg(g_share ORDER BY layer, head) AS g_share
FROM heads {BY_LAYER}
"""

ATTENTION = f"""
SELECT model, sequence, layer,
       avg(previous ORDER BY layer, head) AS previous_token_attention,
       avg(first ORDER BY layer, head) AS first_token_attention,
       avg(entropy ORDER BY layer, head) AS entropy
FROM {query.stage()} {BY_LAYER}
"""

# How far a_d spreads over the causal cells of a head, of which distance d has length - d.
COMPONENTS = f"""
WITH heads AS (
    SELECT model, sequence, layer, head,
           sum(($length - index) * value ORDER BY index) / sum($length - index) AS mean,
           sum(($length - index) * value * value ORDER BY index) / sum($length - index) AS square
    FROM {query.stage()} WHERE axis = 'distance' GROUP BY model, sequence, layer, head
)
SELECT model, sequence, layer,
       avg(sqrt(greatest(square - mean * mean, 0)) ORDER BY layer, head) AS distance_spread
FROM heads {BY_LAYER}
"""

FLEXIBILITY = f"""
SELECT model, sequence, NULL AS layer,
       any_value(loss) FILTER (text = 'displaced') - any_value(loss) FILTER (text = 'as written') AS {DISPLACED},
       any_value(loss) FILTER (text = 'long' AND first = 1) AS loss_within,
       any_value(loss) FILTER (text = 'long' AND first > 1) AS {BEYOND}
FROM {query.stage()} GROUP BY model, sequence
"""

STAGES = {
    "checkpoint_losses": LOSSES,
    "fits": FITS,
    "additivity": ADDITIVITY,
    "patterns": PATTERNS,
    "checkpoint_attention": ATTENTION,
    "components": COMPONENTS,
    "flexibility": FLEXIBILITY,
}
INDEX = ("model", "sequence", "layer", "axes")


def by_sequence(stages: Mapping[str, Files], length: int) -> Columns:
    """A row a (model, layer, measure, sequence), layer -1 for all of them, in one seeded order.

    stages: name -> the files of each of STAGES; length: of whole sequences.
    """
    found: list[dict[str, Any]] = []
    for name, sql in STAGES.items():
        options = {"length": length} if "$length" in sql else {}
        for row in query.rows(sql, files=stages[name], **options):
            where = {"model": row["model"], "sequence": row["sequence"]}
            where["layer"] = -1 if row["layer"] is None else row["layer"]
            values = {column: value for column, value in row.items() if column not in INDEX}
            if name == "fits":
                values = {f"r {row['axes']}": row["r"], f"adjusted_r2 {row['axes']}": row["r2"]}
            found += [
                where | {"measure": measure, "value": np.nan if value is None else float(value)}
                for measure, value in values.items()
            ]
    found.sort(key=lambda row: (row["model"], row["layer"], row["measure"], row["sequence"]))
    return {name: np.array([row[name] for row in found]) for name in found[0]}


def by_checkpoint(frame: Columns, models: Sequence[str], samples: int, seed: int) -> list[dict]:
    """The rows of training.csv, one a (checkpoint, layer, measure): layer None is the mean over all layers and heads.

    value: the mean over sequences, with its 95 % bootstrap interval over them. frame: from `by_sequence`.
    """
    rows = []
    for model in models:
        own = query.where(frame, model=model)
        for layer in np.unique(own["layer"]).tolist():
            of_layer = query.where(own, layer=layer)
            for measure in dict.fromkeys(of_layer["measure"].tolist()):
                values = query.where(of_layer, measure=measure)["value"]
                if np.isfinite(values).any():
                    row = {"model": model, "layer": None if layer < 0 else layer, "measure": measure}
                    row["sequences"] = int(np.isfinite(values).sum())
                    rows.append(row | mean_with_interval("value", values, samples, seed))
    return rows


def settled(steps: Sequence[int], values: Sequence[float]) -> float:
    """The first of `steps` from which on `values` stay within NEAR of their whole range of the last one.

    It is read off the steps that are measured, so what settles between two of them has done so at the later. NaN if
    that is the last step: then it cannot be told from still moving; and for what never moves.
    """
    order = np.argsort(steps)
    at, curve = np.asarray(steps)[order], np.asarray(values, dtype=float)[order]
    spread = curve.max() - curve.min()
    far = np.abs(curve - curve[-1]) > NEAR * spread
    if not np.isfinite(spread) or not far.any():
        return float("nan")
    first = int(np.flatnonzero(far)[-1]) + 1
    return float(at[first]) if first < len(at) - 1 else float("nan")


def settling(rows: Sequence[Mapping[str, Any]]) -> list[dict]:
    """The rows of settling.csv, one a (series, measure), from those of training.csv: of the model as a whole, when each
    measure settles, and when the loss does. `model` is the last checkpoint."""
    whole = [row for row in rows if _whole(row)]
    curves: dict[tuple[str, str], dict[int, float]] = {}
    for row in whole:
        series, step = series_of(row["model"]), step_of(row["model"])
        assert series is not None and step is not None
        curves.setdefault((series, row["measure"]), {})[step] = row["value"]
    found = {key: settled(list(curve), list(curve.values())) for key, curve in curves.items()}
    return [
        {
            "model": checkpoint_of(series, max(curve)),
            "measure": measure,
            "checkpoints": len(curve),
            "first_value": curve[min(curve)],
            "last_value": curve[max(curve)],
            "settled": found[series, measure],
            "loss_settled": found[series, LOSS],
            "when": _when(found[series, measure], found[series, LOSS]),
        }
        for (series, measure), curve in curves.items()
    ]


def _whole(row: Mapping[str, Any]) -> bool:
    """Whether a row of training.csv is of a whole model."""
    return row["layer"] is None or row["layer"] != row["layer"]


def _when(step: float, loss: float) -> str:
    """How the step at which a measure settles stands to that of the loss; both NaN if they do not by the end."""
    if step != step:
        return "not by the end"
    return "before the loss" if loss != loss or step < loss else "with the loss" if step == loss else "after the loss"


def loss_curves(curves: Files) -> list[dict]:
    """The rows of training_loss.csv: each training's losses, step by step."""
    return query.rows(f"SELECT series, step, text, loss FROM {query.stage()} ORDER BY series, text, step", files=curves)


def courses(table: str | Path, entry: str) -> dict[str, dict[int | None, dict[str, tuple[NDArray, Array]]]]:
    """measure -> layer (None for the whole) -> series -> (steps, values), of the series of one entry, from
    training.csv."""
    found: dict[str, dict[int | None, dict[str, tuple[NDArray, Array]]]] = {}
    points: dict[tuple[str, int | None, str], list[tuple[int, float]]] = {}
    for row in tables.from_csv(table):
        if entry_of(row["model"]) == entry:
            layer = None if _whole(row) else int(row["layer"])
            points.setdefault((row["measure"], layer, row["series"]), []).append((int(row["step"]), row["value"]))
    for (measure, layer, series), own in points.items():
        steps, values = zip(*sorted(own), strict=True)
        found.setdefault(measure, {}).setdefault(layer, {})[series] = np.array(steps), np.array(values)
    return found
