"""The tables of tolerance: what each perturbation costs at each fraction, and what of it the mechanism predicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from triaxis.base import query, tables
from triaxis.base.query import Columns, Files, where
from triaxis.base.stats import finite_mean, interval

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

LINKS_BY_HEAD = f"""
SELECT model, fraction, layer, head, avg(predicted ORDER BY sequence) AS predicted,
       avg(observed ORDER BY sequence) AS observed, avg(correlation ORDER BY sequence) AS correlation
FROM {query.stage()}
GROUP BY model, fraction, layer, head ORDER BY model, fraction, layer, head
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


def link(
    files: Files, summary: Sequence[Mapping[str, Any]], interaction: Mapping[str, float], models: Sequence[str]
) -> list[dict]:
    """The rows of tolerance_link.csv, one a (model, fraction above 0).

    predicted, observed: means over heads of the root mean square change of f and of the logits. r_heads, rank_heads:
    Pearson and rank correlation of the two over the heads whose logits change. r_changes: mean over heads of the
    correlation of the changes themselves. interaction: model -> its share, as in mechanism.csv.
    log_ratio_PERTURBATION: the loss that each perturbation adds; summary: the rows of tolerance.csv.
    """
    columns, rows = query.columns(LINKS_BY_HEAD, files=files), []
    ratios = {(row["model"], row["perturbation"], row["fraction"]): row["ratio"] for row in summary}
    for model in models:
        for fraction in sorted({key[2] for key in ratios} - {0.0}):
            own = where(columns, model=model, fraction=fraction)
            changing = own["observed"] > 0
            predicted, observed = own["predicted"][changing], own["observed"][changing]
            several = len(predicted) > 2
            rows.append(
                {"model": model, "fraction": fraction, "heads": len(changing)}
                | {name: finite_mean(own[name]) for name in ("predicted", "observed")}
                | {"r_heads": float(np.corrcoef(predicted, observed)[0, 1]) if several else np.nan}
                | {"rank_heads": float(spearmanr(predicted, observed).statistic) if several else np.nan}
                | {"r_changes": finite_mean(own["correlation"]), "interaction": interaction[model]}
                | {
                    f"log_ratio_{perturbation}": float(np.log(ratios[model, perturbation, fraction]))
                    for perturbation in _perturbations(summary)
                }
            )
    return rows


def _perturbations(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["perturbation"] for row in summary))


def cosines(files: Files) -> dict[tuple[str, str], tuple[NDArray, NDArray, NDArray]]:
    """(model, perturbation) -> its fractions, its layers, and the cosines (fractions, layers), means over sequences."""
    columns, found = query.columns(COSINES_BY_LAYER, files=files), {}
    for model, perturbation in dict.fromkeys(zip(columns["model"], columns["perturbation"], strict=True)):
        own = where(columns, model=model, perturbation=perturbation)
        fractions, layers = np.unique(own["fraction"]), np.unique(own["layer"])
        found[model, perturbation] = fractions, layers, own["cosine"].reshape(len(fractions), len(layers))
    return found


def links(files: Files, fraction: float) -> dict[str, Columns]:
    """model -> layer, head, predicted, observed, each (heads of all layers,), at one fraction; heads whose logits do
    not change are left out."""
    columns = query.columns(LINKS_BY_HEAD, files=files)
    columns = {name: column[columns["observed"] > 0] for name, column in columns.items()}
    return {model: where(columns, model=model, fraction=fraction) for model in dict.fromkeys(columns["model"])}


def curves(table: str | Path) -> dict[str, dict[str, Curve]]:
    """model -> perturbation -> its perplexity ratio by fraction, from tolerance.csv; NaN for no interval."""
    rows, found = tables.read_columns(table), dict[str, dict[str, Curve]]()
    for model, perturbation in dict.fromkeys(zip(rows["model"], rows["perturbation"], strict=True)):
        own = where(rows, model=model, perturbation=perturbation)
        values = (own[name] for name in ("fraction", "ratio", "ratio_low", "ratio_high"))
        found.setdefault(model, {})[perturbation] = Curve(*values)
    return found
