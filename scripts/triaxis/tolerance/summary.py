"""The tables of tolerance: what each perturbation costs at each fraction, and what predicts the cost of a head."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triaxis.base import query, tables
from triaxis.base.query import Columns, Files, where
from triaxis.base.stats import interval, mean_with_interval, rank_correlation

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Curve:
    """A measure of one model and perturbation by fraction, with its interval; arrays (fractions,)."""

    fraction: Array
    value: Array
    low: Array
    high: Array


# One row a (model, perturbation, fraction, sequence): sums of losses, perturbed and plain over the same positions.
LOSSES_BY_SEQUENCE = f"""
WITH rows AS (FROM {query.stage()}),
plain AS (SELECT model, perturbation, sequence, position, loss AS plain FROM rows WHERE fraction = 0)
SELECT model, perturbation, fraction, sequence, any_value(moved_fraction) AS moved_fraction,
       any_value(displacement) AS displacement,
       count(loss)::DOUBLE AS count, sum(loss ORDER BY position) AS loss,
       sum(plain ORDER BY position) FILTER (loss IS NOT NULL) AS plain,
       count(perturbed_loss)::DOUBLE AS perturbed_count, sum(perturbed_loss ORDER BY position) AS perturbed,
       count(plain)::DOUBLE AS all_count, sum(plain ORDER BY position) AS all_plain,
       avg(agreement::DOUBLE ORDER BY position) AS agreement, avg(kl ORDER BY position) AS kl
FROM rows JOIN plain USING (model, perturbation, sequence, position)
GROUP BY model, perturbation, fraction, sequence ORDER BY model, perturbation, fraction, sequence
"""

COSINES_BY_LAYER = f"""
SELECT model, perturbation, fraction, layer, avg(cosine ORDER BY sequence) AS cosine
FROM {query.stage()}
GROUP BY model, perturbation, fraction, layer ORDER BY model, perturbation, fraction, layer
"""

# What may predict the cost of a head (`tolerance.predictors`): f first, which the others are held against.
PREDICTORS = ("f", "norms", "scrambled", "entropy", "slow_share", "logits")
# What is perturbed alone.
UNITS = ("head", "layer")
# Of these a layer has the mean of its heads, of the others the sum.
OF_MEANS = ("entropy", "slow_share")

# One row a (model, layer, head): its cost, alone (head null: of all heads of the layer at once), and what was predicted
# from other sequences.
COSTS_BY_HEAD = f"""
WITH costs AS (
    SELECT model, layer, head, count(*) AS sequences, avg(kl ORDER BY sequence) AS kl,
           avg(loss - plain_loss ORDER BY sequence) AS loss_added
    FROM {query.stage("$heads")} GROUP BY model, layer, head
),
known AS (
    SELECT model, layer, head, {", ".join(f"avg({name} ORDER BY sequence) AS {name}" for name in PREDICTORS)}
    FROM {query.stage("$predictors")} GROUP BY model, layer, head
),
predicted AS (
    SELECT * FROM known UNION ALL
    SELECT model, layer, NULL AS head, {
    ", ".join(f"{'avg' if name in OF_MEANS else 'sum'}({name} ORDER BY head) AS {name}" for name in PREDICTORS)
}
    FROM known GROUP BY model, layer
)
SELECT costs.*, {", ".join(PREDICTORS)} FROM costs JOIN predicted
ON costs.model = predicted.model AND costs.layer = predicted.layer AND costs.head IS NOT DISTINCT FROM predicted.head
ORDER BY costs.model, costs.layer, costs.head NULLS FIRST
"""


def perplexity_ratio(loss: NDArray, count: NDArray, plain: NDArray, plain_count: NDArray, axis: int = -1) -> NDArray:
    """exp of the mean loss added; sums (sequences,) of losses and of the tokens that they are over, along `axis`."""
    return np.exp(loss.sum(axis) / count.sum(axis) - plain.sum(axis) / plain_count.sum(axis))


def tolerance_by_fraction(
    files: Files, models: Sequence[str], perturbations: Sequence[str], samples: int, seed: int
) -> list[dict]:
    """The rows of tolerance.csv, one a (model, perturbation, fraction).

    perplexity: on the original next token, where still defined; ratio: to the plain run's over the same positions.
    perturbed_perplexity, perturbed_ratio: on the text as perturbed, to the plain run's on its own text. With 95 %
    bootstrap intervals over sequences. moved_fraction, displacement, agreement, kl: means over sequences.
    """
    columns, rows = query.columns(LOSSES_BY_SEQUENCE, files=files), []
    for model in models:
        for perturbation in perturbations:
            for fraction in np.unique(columns["fraction"]):
                own = where(columns, model=model, perturbation=perturbation, fraction=fraction)
                original = [own[name] for name in ("loss", "count", "plain", "count")]
                perturbed = [own[name] for name in ("perturbed", "perturbed_count", "all_plain", "all_count")]
                rows.append(
                    {
                        "model": model,
                        "perturbation": perturbation,
                        "fraction": float(fraction),
                        "sequences": len(own["sequence"]),
                    }
                    | {name: float(own[name].mean()) for name in ("moved_fraction", "displacement")}
                    | _perplexity("", original, samples, seed)
                    | _perplexity("perturbed_", perturbed, samples, seed)
                    | {name: float(own[name].mean()) for name in ("agreement", "kl")}
                )
    return rows


def _perplexity(prefix: str, columns: Sequence[NDArray], samples: int, seed: int) -> dict[str, float]:
    """Perplexity and its ratio to the plain run's, with its interval; columns as `perplexity_ratio` takes them."""
    loss, count, plain, plain_count = columns
    low, high = interval((loss, count, plain, plain_count), perplexity_ratio, samples, seed)
    return {
        f"{prefix}perplexity": float(np.exp(loss.sum() / count.sum())),
        f"{prefix}ratio": float(perplexity_ratio(loss, count, plain, plain_count)),
        f"{prefix}ratio_low": low,
        f"{prefix}ratio_high": high,
    }


def costs_by_head(heads: Files, predictors: Files) -> list[dict]:
    """The rows of tolerance_heads.csv, one a (model, layer, head), a layer (head null) before its heads."""
    return query.rows(COSTS_BY_HEAD, heads=heads, predictors=predictors)


def predictions(costs: Sequence[Mapping[str, Any]], samples: int, seed: int) -> list[dict]:
    """The rows of tolerance_predictors.csv, one a (model, unit, cost, predictor), from those of tolerance_heads.csv.

    unit: head or layer. rank: Spearman's correlation of predictor and cost over the model's units. behind_f: how much
    f's is further from 0. within: the same among the heads of a layer, mean over layers. All with 95 % bootstrap
    intervals, over units, and of `within` over layers.
    """
    rows = []
    for model in dict.fromkeys(row["model"] for row in costs):
        for unit in UNITS:
            own = [row for row in costs if row["model"] == model and (row["head"] is None) == (unit == "layer")]
            layers = np.array([row["layer"] for row in own])
            for cost in ("kl", "loss_added"):
                seen = np.array([row[cost] for row in own])
                f = np.array([row["f"] for row in own])
                for name in PREDICTORS:
                    predictor = np.array([row[name] for row in own])
                    rows.append(
                        {"model": model, "unit": unit, "cost": cost, "predictor": name, "units": len(own)}
                        | _with_interval("rank", rank_correlation, (predictor, seen), samples, seed)
                        | _with_interval("behind_f", behind, (predictor, f, seen), samples, seed)
                        | mean_with_interval("within", _within(predictor, seen, layers), samples, seed)
                    )
    return rows


def behind(predictor: Array, f: Array, cost: Array, axis: int = -1) -> Array:
    """How much closer f ranks the costs than the predictor does, either of them in the order or against it."""
    return np.abs(rank_correlation(f, cost)) - np.abs(rank_correlation(predictor, cost))


def _with_interval(
    name: str, statistic: Callable[..., Array], columns: tuple[Array, ...], samples: int, seed: int
) -> dict[str, float]:
    """A statistic of columns (units,) and its interval, as `mean_with_interval` names them."""
    low, high = interval(columns, statistic, samples, seed)
    return {name: float(statistic(*columns)), f"{name}_low": low, f"{name}_high": high}


def _within(predictor: Array, cost: Array, layers: NDArray[np.integer]) -> Array:
    """(layers,): the rank correlation over the heads of each layer; NaN for layers of fewer than three."""
    each = [(predictor[layers == layer], cost[layers == layer]) for layer in np.unique(layers)]
    return np.array([rank_correlation(*own) if len(own[0]) > 2 else np.nan for own in each])


def cosines(files: Files) -> dict[tuple[str, str], tuple[NDArray, NDArray, NDArray]]:
    """(model, perturbation) -> its fractions, its layers, and the cosines (fractions, layers), means over sequences."""
    columns, found = query.columns(COSINES_BY_LAYER, files=files), {}
    for model, perturbation in dict.fromkeys(zip(columns["model"], columns["perturbation"], strict=True)):
        own = where(columns, model=model, perturbation=perturbation)
        fractions, layers = np.unique(own["fraction"]), np.unique(own["layer"])
        found[model, perturbation] = fractions, layers, own["cosine"].reshape(len(fractions), len(layers))
    return found


def head_costs(table: str | Path) -> dict[str, Columns]:
    """model -> the columns of its heads in tolerance_heads.csv, layers left out."""
    rows = tables.read_columns(table)
    heads = np.isfinite(rows["head"].astype(float))
    rows = {name: column[heads] for name, column in rows.items()}
    return {model: where(rows, model=model) for model in dict.fromkeys(rows["model"].tolist())}


def predictor_ranks(table: str | Path) -> dict[str, dict[str, Columns]]:
    """model -> unit -> the columns of tolerance_predictors.csv."""
    rows = tables.read_columns(table)
    return {
        model: {unit: where(rows, model=model, unit=unit) for unit in UNITS}
        for model in dict.fromkeys(rows["model"].tolist())
    }


def curves(table: str | Path) -> dict[str, dict[str, Curve]]:
    """model -> perturbation -> its perplexity ratio by fraction, from tolerance.csv; NaN for no interval."""
    rows, found = tables.read_columns(table), dict[str, dict[str, Curve]]()
    for model, perturbation in dict.fromkeys(zip(rows["model"], rows["perturbation"], strict=True)):
        own = where(rows, model=model, perturbation=perturbation)
        values = (own[name] for name in ("fraction", "ratio", "ratio_low", "ratio_high"))
        found.setdefault(model, {})[perturbation] = Curve(*values)
    return found
