"""Rows of surgery/ and bands/ to the tables of surgery, and tables to what its figures show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triaxis.base import query, tables
from triaxis.base.query import Columns, Files
from triaxis.base.stats import mean_with_interval
from triaxis.surgery.variants import CHANGES, NONE, PARTS, VARIANTS

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Losses:
    """What a model's variants, all layers replaced, add to its loss, with intervals; arrays (variants,), nats a token.
    chosen: the additive variant that the controls follow."""

    variants: Sequence[str]
    kinds: Sequence[str]
    chosen: str
    added: Array
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

# One row a model: the additive variant of the least loss on the sequences of the selection.
CHOSEN_VARIANT = f"""
WITH means AS (
    SELECT model, variant, avg(loss ORDER BY sequence) AS loss FROM {query.stage()}
    WHERE scope = 'selection' GROUP BY model, variant
)
SELECT model, arg_min(variant, loss ORDER BY variant) AS variant FROM means GROUP BY model ORDER BY model
"""

# One row a (model, change, band, part of the depth, sequence), and of 'none', the plain run.
BANDS_BY_SEQUENCE = f"""
SELECT model, change, layers, low, high, pairs, first_layer, last_layer, sequence, loss, agreement, kl
FROM {query.stage()} ORDER BY ALL
"""

# One row a (model, band, part of the depth): what its pairs give to the variances of f, g and the interaction.
SHARES = f"""
WITH bands AS (SELECT DISTINCT model, layers, low, high, first_layer, last_layer FROM {query.stage("$bands")}),
pairs AS (
    SELECT model, layer, turns, avg(f_variance ORDER BY sequence, head) AS f,
           avg(g_variance ORDER BY sequence, head) AS g,
           avg(interaction_variance ORDER BY sequence, head) AS interaction
    FROM {query.stage("$patterns")} WHERE first_token GROUP BY model, layer, pair, turns
)
SELECT model, layers, low, {
    ", ".join(
        f"sum({name} ORDER BY layer, turns) FILTER (turns >= low AND turns < high) / "
        f"sum({name} ORDER BY layer, turns) AS {name}"
        for name in ("f", "g", "interaction")
    )
}
FROM bands JOIN pairs USING (model) WHERE layer BETWEEN first_layer AND last_layer AND low IS NOT NULL
GROUP BY ALL ORDER BY ALL
"""


def by_variant(files: Files, models: Sequence[str], samples: int, seed: int) -> list[dict]:
    """The rows of surgery.csv, from all files of surgery/: one a (model, variant), models in the order given and
    variants by their loss.

    kind: as in `surgery.variants`. chosen: whether it is the additive variant that the controls follow. Means over
    sequences; loss, added (to the loss of 'exact' on the same sequence) and kl with their intervals.
    """
    frame = query.columns(WHOLE_SURGERY, files=files)
    found = query.columns(CHOSEN_VARIANT, files=files)
    chosen = dict(zip(found["model"].tolist(), found["variant"].tolist(), strict=True))
    rows = []
    for model in models:
        of_model = []
        exact = query.where(frame, model=model, variant="exact")["loss"]
        for variant in sorted(set(frame["variant"])):
            own = query.where(frame, model=model, variant=variant)
            of_model.append(
                {
                    "model": model,
                    "variant": variant,
                    "kind": VARIANTS[variant].kind,
                    "chosen": variant == chosen[model],
                    "sequences": len(own["loss"]),
                }
                | mean_with_interval("loss", own["loss"], samples, seed)
                | mean_with_interval("added", own["loss"] - exact, samples, seed)
                | {name: float(own[name].mean()) for name in ("perplexity", "agreement")}
                | mean_with_interval("kl", own["kl"], samples, seed)
            )
        rows += sorted(of_model, key=lambda row: row["loss"])
    return rows


def by_band(bands: Files, patterns: Files, models: Sequence[str], samples: int, seed: int) -> list[dict]:
    """The rows of surgery_bands.csv, one a (model, part of the depth, change, band), from bands/ and patterns/.

    Means over sequences; loss, added (to the plain run's on the same sequence) and kl with their intervals. f_share,
    g_share, interaction_share: of the variances over these layers, what the band's pairs give.
    """
    frame = query.columns(BANDS_BY_SEQUENCE, files=bands)
    shares = {
        (row["model"], row["layers"], row["low"]): row for row in query.rows(SHARES, bands=bands, patterns=patterns)
    }
    rows: list[dict[str, Any]] = []
    for model in models:
        of_model = query.where(frame, model=model)
        plain = query.where(of_model, change=NONE)["loss"]
        for part in [part for part in PARTS if part in of_model["layers"]]:
            for change in CHANGES:
                of_change = query.where(of_model, layers=part, change=change)
                for low in np.unique(of_change["low"]):
                    own = query.where(of_change, low=low)
                    share = shares.get((model, part, low), {})
                    rows.append(
                        {"model": model, "layers": part, "change": change}
                        | {name: float(own[name][0]) for name in ("low", "high", "pairs")}
                        | {"sequences": len(own["loss"])}
                        | mean_with_interval("loss", own["loss"], samples, seed)
                        | mean_with_interval("added", own["loss"] - plain, samples, seed)
                        | {"agreement": float(own["agreement"].mean())}
                        | mean_with_interval("kl", own["kl"], samples, seed)
                        | {f"{name}_share": share.get(name, np.nan) for name in ("f", "g", "interaction")}
                    )
    return rows


def surgery_losses(table: str | Path, models: Sequence[str]) -> dict[str, Losses]:
    """model -> what its variants add to its loss, least first, from surgery.csv; NaN for no interval."""
    rows = tables.read_columns(table)
    by_model = {model: query.where(rows, model=model) for model in models}
    return {
        model: Losses(
            own["variant"].tolist(),
            own["kind"].tolist(),
            str(own["variant"][own["chosen"].astype(bool)][0]),
            own["added"],
            own["added_low"],
            own["added_high"],
        )
        for model, own in by_model.items()
    }


def surgery_bands(table: str | Path, model: str) -> dict[str, dict[str, Columns]]:
    """Part of the depth -> change -> the columns of its bands, slowest first, from surgery_bands.csv."""
    own = query.where(tables.read_columns(table), model=model)
    return {
        part: {change: query.where(own, layers=part, change=change) for change in dict.fromkeys(own["change"].tolist())}
        for part in dict.fromkeys(own["layers"].tolist())
    }


def surgery_steps(surgery: str | Path, variant: str) -> Steps:
    """The mean losses of one variant's steps, from a file of surgery/; heads of the worst layer first."""
    rows = query.columns(
        f"WITH own AS (SELECT * FROM {query.stage()} WHERE scope <> 'selection'), "
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
