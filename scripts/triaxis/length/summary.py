"""What the runs at several lengths found, by model and method: rows of the tables and curves of the figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triaxis.base import parquet, query
from triaxis.base.query import Columns, Files
from triaxis.base.stats import interval, mean, mean_with_interval, share_interval
from triaxis.length.components import Continued, align, continuation

Array = NDArray[np.floating]
Run = tuple[str, str, int]  # model, method, length

READ = query.stage()
# The loss of a length is that of the tokens that it adds to the length before; a bucket ends where a length does.
LOSSES_BY_SEQUENCE = f"""
WITH all_rows AS (FROM {READ}),
steps AS (SELECT DISTINCT model, method, length FROM all_rows),
before AS (SELECT *, coalesce(lag(length) OVER (PARTITION BY model, method ORDER BY length), 0) AS start FROM steps)
SELECT model, method, length, sequence,
       sum(loss * tokens ORDER BY first) FILTER (first >= start) / sum(tokens) FILTER (first >= start) AS loss,
       sum(loss * tokens ORDER BY first) / sum(tokens) AS loss_from_start
FROM all_rows JOIN before USING (model, method, length)
GROUP BY model, method, length, sequence ORDER BY model, method, length, sequence
"""
PASSKEYS_BY_LENGTH = f"""
SELECT model, method, length, count(*) AS passkeys, sum(correct::INT)::INT AS passkeys_right,
       avg(correct::INT) AS passkey_accuracy,
       sum("right") / sum(tokens) AS passkey_tokens_right
FROM {READ} GROUP BY ALL
"""
DISTANCES_BY_LENGTH = f"""
SELECT model, method, length, avg(outlier_share ORDER BY layer, head) AS outlier_share,
       any_value(expected) AS outlier_expected, avg(median ORDER BY layer, head) AS mahalanobis_median,
       avg(q90 ORDER BY layer, head) AS mahalanobis_q90, avg(q99 ORDER BY layer, head) AS mahalanobis_q99,
       avg(energy ORDER BY layer, head) AS energy
FROM {READ} GROUP BY ALL
"""
OUTLIERS_BY_SEQUENCE = f"""
SELECT model, method, length, sequence, sum(outlier::INT)::DOUBLE AS outliers, count(*)::DOUBLE AS points
FROM {READ} GROUP BY ALL ORDER BY model, method, length, sequence
"""
ATTENTION_BY_LENGTH = f"""
SELECT model, method, length, avg(keys ORDER BY layer, head) AS keys,
       avg(logit_mean ORDER BY layer, head) AS logit_mean,
       avg(logit_sd ORDER BY layer, head) AS logit_sd, avg(entropy ORDER BY layer, head) AS entropy
FROM {READ} GROUP BY ALL
"""
COMPONENTS_BY_HEAD = f"SELECT * FROM {READ} ORDER BY model, method, length, layer, head, distance"
CONTINUED = ("r_inside", "r_closed", "error_inside", "error_beyond")
COLUMNS = (
    *("sequences", "loss", "loss_low", "loss_high", "rise", "rise_low", "rise_high", "loss_from_start"),
    *("passkeys", "passkey_accuracy", "passkey_accuracy_low", "passkey_accuracy_high", "passkey_tokens_right"),
    *("outlier_share", "outlier_share_low", "outlier_share_high", "outlier_expected"),
    *("mahalanobis_median", "mahalanobis_q90", "mahalanobis_q99", "energy"),
    *("keys", "logit_mean", "logit_sd", "entropy", *CONTINUED),
)


def training_of(file: str | Path) -> tuple[int, str]:
    """The training length that a file of length/ was made with, and whether that is the model's own."""
    metadata = parquet.read_metadata(file)
    return int(metadata["training_length"]), metadata["training_length_is"]


def model_of(file: str | Path) -> str:
    return next(part.removeprefix("model=") for part in Path(file).parts if part.startswith("model="))


@dataclass(frozen=True)
class Curves:
    """One (model, method)'s distance components at its longest length: layers and heads (n,), own.whole and its like
    (n, distances)."""

    length: int
    layer: NDArray[np.integer]
    head: NDArray[np.integer]
    own: Continued


def curves_of(files: Files) -> dict[tuple[str, str], Curves]:
    """(model, method) -> its distance components; a method without any is left out."""
    frame = query.columns(COMPONENTS_BY_HEAD, files=files)
    found = {}
    for model, method in sorted(set(zip(frame["model"].tolist(), frame["method"].tolist(), strict=True))):
        own = query.where(frame, model=model, method=method)
        n = len(np.unique(own["distance"]))
        grids = {name: own[name].reshape(-1, n) for name in frame if name not in ("model", "method")}
        distance, cells = (grids[name][0] for name in ("distance", "cells"))
        continued = Continued(distance, cells, *(grids[name] for name in ("whole", "inside", "closed")))
        found[model, method] = Curves(int(own["length"][0]), grids["layer"][:, 0], grids["head"][:, 0], continued)
    return found


def typical_curve(curves: Curves, training_length: int) -> tuple[str, Continued]:
    """The head whose closed form errs beyond the training length as the median head's does, its curves aligned; one
    head, so arrays (1, distances)."""
    errors = continuation(curves.own, training_length)["error_beyond"]
    place = int(np.argsort(errors, kind="stable")[(len(errors) - 1) // 2])
    own, inside = curves.own, curves.own.distance < training_length
    whole, weights = own.whole[place], own.cells.astype(float)
    fit, form = (
        align(np.nan_to_num(curve[place]), whole, weights, inside & np.isfinite(curve[place]))
        for curve in (own.inside, own.closed)
    )
    fit[~np.isfinite(own.inside[place])] = np.nan
    flat = align(np.zeros_like(whole), whole, weights, inside)
    name = f"layer {curves.layer[place]} head {curves.head[place]}"
    return name, Continued(own.distance, own.cells, (whole - flat)[None], (fit - flat)[None], (form - flat)[None])


def length_by_method(
    files: Mapping[str, Files], models: Sequence[str], methods: Sequence[str], samples: int, seed: int
) -> list[dict[str, Any]]:
    """The rows of length.csv: one a (model, method, length), in the order given; files: stage -> its files.

    Losses, rises and outlier shares have bootstrap intervals over sequences, passkey_accuracy has one over prompts
    (Wilson). Measures of heads are means over heads and layers. Components are of the longest length, and of methods at
    true distances.
    """
    trained = {model_of(file): training_of(file) for file in files["losses"]}
    merged = _losses(files["losses"], {model: length for model, (length, _) in trained.items()}, samples, seed)
    statements = {
        "passkeys": PASSKEYS_BY_LENGTH,
        "distances": DISTANCES_BY_LENGTH,
        "attention": ATTENTION_BY_LENGTH,
    }
    for stage, statement in statements.items():
        for row in query.rows(statement, files=files[stage]):
            key = row.pop("model"), row.pop("method"), row.pop("length")
            merged.setdefault(key, {}).update(row)
    for key, own in _by_run(query.columns(OUTLIERS_BY_SEQUENCE, files=files["clouds"])).items():
        low, high = interval((own["outliers"], own["points"]), _share, samples, seed)
        merged[key] |= {"outlier_share_low": low, "outlier_share_high": high}
    for found in merged.values():
        if "passkeys" in found:
            low, high = share_interval(found.pop("passkeys_right"), found["passkeys"])
            found |= {"passkey_accuracy_low": low, "passkey_accuracy_high": high}
    for (model, method), curves in curves_of(files["components"]).items():
        ahead = continuation(curves.own, trained[model][0])
        merged[model, method, curves.length] |= {name: _median(ahead[name]) for name in CONTINUED}
    rows = []
    for model in models:
        training, which = trained[model]
        for method in methods:
            for length in sorted(length for own, name, length in merged if (own, name) == (model, method)):
                found = merged[model, method, length]
                row = {name: float("nan") if found.get(name) is None else found[name] for name in COLUMNS}
                where = {"model": model, "method": method, "length": length, "training_length": training}
                rows.append(where | {"training_length_is": which} | row)
    return rows


def _losses(files: Files, training: Mapping[str, int], samples: int, seed: int) -> dict[Run, dict[str, Any]]:
    """The columns of losses. rise: loss less that of plain on the tokens that the longest length within the training
    length adds, in the same sequence; training: model -> its training length."""
    by_run = _by_run(query.columns(LOSSES_BY_SEQUENCE, files=files))
    found = {}
    for (model, method, length), own in by_run.items():
        within = max(n for name, _, n in by_run if name == model and n <= training[model])
        rise = own["loss"] - by_run[model, "plain", within]["loss"]
        found[model, method, length] = (
            {"sequences": len(rise), "loss_from_start": float(own["loss_from_start"].mean())}
            | mean_with_interval("loss", own["loss"], samples, seed)
            | mean_with_interval("rise", rise, samples, seed)
        )
    return found


def _by_run(frame: Columns) -> dict[Run, Columns]:
    """(model, method, length) -> its rows, which stand together in the frame."""
    keys = list(zip(*(frame[name].tolist() for name in ("model", "method", "length")), strict=True))
    return {key: query.where(frame, model=key[0], method=key[1], length=key[2]) for key in dict.fromkeys(keys)}


def _share(hits: NDArray, count: NDArray, axis: int = -1) -> NDArray:
    return hits.sum(axis) / count.sum(axis)


def _median(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def costs(files: Files, models: Sequence[str], methods: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of length_costs.csv: one a (model, method, length), in the order given."""
    found = query.rows(f"SELECT * FROM {READ} ORDER BY length", files=files)
    return [
        {"model": model, "method": method, "length": row["length"], "device": row["device"], "passes": row["passes"]}
        | {name: row[name] for name in ("seconds", "fastest", "slowest")}
        | {"tokens_a_second": row["length"] / row["seconds"]}
        | {"memory_mb": float("nan") if row["memory_mb"] is None else row["memory_mb"]}
        for model in models
        for method in methods
        for row in found
        if (row["model"], row["method"]) == (model, method)
    ]


@dataclass(frozen=True)
class LossCurve:
    """Loss by position of one (model, method) at its longest length; arrays (buckets,). position: the middle of each
    bucket; loss: mean over sequences; low, high: its interval over them, NaN for fewer than five."""

    position: Array
    loss: Array
    low: Array
    high: Array


def loss_curves(files: Files, samples: int, seed: int) -> dict[tuple[str, str], LossCurve]:
    """(model, method) -> its loss by position, with bootstrap intervals."""
    frame = query.columns(
        f"WITH longest AS (FROM {READ} QUALIFY length = max(length) OVER (PARTITION BY model, method)) "
        'SELECT model, method, length, ("first" + "last") / 2 AS position, loss FROM longest '
        "ORDER BY model, method, position, sequence",
        files=files,
    )
    found = {}
    for (model, method, _), own in _by_run(frame).items():
        position = np.unique(own["position"])
        losses = own["loss"].reshape(len(position), -1)
        ends = np.array([interval((values,), mean, samples, seed) for values in losses])
        found[model, method] = LossCurve(position, losses.mean(1), *ends.T)
    return found


@dataclass(frozen=True)
class Clouds:
    """One head's outputs in the plane of the reference; points: (method, length) -> (n, 2); reference (n, 2)."""

    name: str
    reference: Array
    points: dict[tuple[str, int], Array]


def typical_clouds(clouds: str | Path, distances: str | Path) -> Clouds:
    """The head whose outlier share, under plain at the longest length, is the median head's."""
    rows = query.rows(
        f"SELECT layer, head, outlier_share FROM {READ} WHERE method = 'plain' "
        "QUALIFY length = max(length) OVER () ORDER BY outlier_share, layer, head",
        files=[distances],
    )
    own = rows[(len(rows) - 1) // 2]
    found = query.rows(
        f"SELECT method, length, reference, x, y FROM {READ} WHERE layer = {own['layer']} AND head = {own['head']} "
        "ORDER BY method, length, sequence, position",
        files=[clouds],
    )
    points: dict[tuple[str, int], list[list[float]]] = {}
    for row in found:
        points.setdefault((row["method"], row["length"]), []).append([row["x"], row["y"]])
    reference = np.array([[row["x"], row["y"]] for row in found if row["reference"]])
    name = f"layer {own['layer']} head {own['head']}"
    return Clouds(name, reference, {key: np.array(values) for key, values in points.items()})


@dataclass(frozen=True)
class Passkeys:
    """Of one (model, method): lengths, depths, and how many numbers were asked for and given right; arrays (depths,
    lengths)."""

    lengths: list[int]
    depths: list[float]
    asked: NDArray[np.integer]
    right: NDArray[np.integer]


def passkey_grids(files: Files) -> dict[tuple[str, str], Passkeys]:
    """(model, method) -> its passkeys by length and depth."""
    rows = query.rows(
        f"SELECT model, method, length, depth, count(*) AS asked, sum(correct::INT)::INT AS correct FROM {READ} "
        "GROUP BY ALL ORDER BY ALL",
        files=files,
    )
    found = {}
    for key in sorted({(row["model"], row["method"]) for row in rows}):
        own = {(row["depth"], row["length"]): row for row in rows if (row["model"], row["method"]) == key}
        depths, lengths = sorted({depth for depth, _ in own}), sorted({length for _, length in own})
        asked, right = (
            np.array([[own[depth, length][name] for length in lengths] for depth in depths])
            for name in ("asked", "correct")
        )
        found[key] = Passkeys(lengths, depths, asked, right)
    return found
