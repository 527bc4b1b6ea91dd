"""Rows of surgery/ to the surgery's table, and table to what its figures show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triaxis.base import query, tables
from triaxis.base.query import Files
from triaxis.base.stats import mean_with_interval

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Losses:
    """A model's variants with all layers replaced; arrays (variants,), losses in nats a token."""

    variants: Sequence[str]
    loss: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Steps:
    """One variant, step by step: mean loss (nats a token) with `layers` replaced one at a time, up to each and from
    each on, (layers,); heads: layer -> (heads,), one head replaced; plain: nothing replaced."""

    layers: NDArray[np.integer]
    alone: Array
    from_first: Array
    from_last: Array
    heads: Mapping[int, Array]
    plain: float


# One row a (model, variant, sequence): the runs of surgery in which all layers were replaced.
WHOLE_SURGERY = f"""
SELECT model, variant, sequence, loss, perplexity, agreement, kl
FROM {query.stage()}
WHERE scope = 'all' ORDER BY model, variant, sequence
"""


def by_variant(files: Files, models: Sequence[str], samples: int, seed: int) -> list[dict]:
    """The rows of surgery.csv, from all files of surgery/: one a (model, variant), models in the order given and
    variants by their loss, means over sequences, the loss with its interval."""
    frame = query.columns(WHOLE_SURGERY, files=files)
    rows = []
    for model in models:
        of_model = []
        for variant in sorted(set(frame["variant"])):
            own = query.where(frame, model=model, variant=variant)
            of_model.append(
                {"model": model, "variant": variant, "sequences": len(own["loss"])}
                | mean_with_interval("loss", own["loss"], samples, seed)
                | {name: float(own[name].mean()) for name in ("perplexity", "agreement", "kl")}
            )
        rows += sorted(of_model, key=lambda row: row["loss"])
    return rows


def surgery_losses(table: str | Path, models: Sequence[str]) -> dict[str, Losses]:
    """model -> the losses of its variants, least first, from surgery.csv; NaN for no interval."""
    rows = tables.read_columns(table)
    by_model = {model: query.where(rows, model=model) for model in models}
    return {
        model: Losses(own["variant"].tolist(), own["loss"], own["loss_low"], own["loss_high"])
        for model, own in by_model.items()
    }


def surgery_steps(surgery: str | Path, variant: str) -> Steps:
    """The mean losses of one variant's steps, from a file of surgery/; heads of the worst layer first."""
    rows = query.columns(
        f"WITH own AS (SELECT * FROM {query.stage()}), "
        "taken AS (SELECT DISTINCT sequence FROM own WHERE scope = 'layer') "
        "SELECT CASE WHEN variant = 'exact' THEN 'plain' ELSE scope END AS scope, layer, head, "
        "avg(loss ORDER BY sequence) AS loss FROM own "
        "WHERE sequence IN (FROM taken) AND (variant = $variant OR (variant = 'exact' AND scope = 'all')) "
        "GROUP BY ALL ORDER BY scope, layer, head",
        files=[surgery],
        variant=variant,
    )
    by_scope = {scope: rows["loss"][rows["scope"] == scope] for scope in np.unique(rows["scope"])}
    layers = rows["layer"][rows["scope"] == "layer"].astype(int)
    alone = by_scope["layer"]
    heads = {
        layer: rows["loss"][(rows["scope"] == "head") & (rows["layer"] == layer)]
        for layer in sorted(
            set(rows["layer"][rows["scope"] == "head"].astype(int)), key=lambda n: -alone[layers == n][0]
        )
    }
    return Steps(layers, alone, by_scope["from_first"], by_scope["from_last"], heads, float(by_scope["plain"][0]))
