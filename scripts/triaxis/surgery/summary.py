"""Rows of surgery/ to the surgery's table, and table to what its figures show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from triaxis.base.query import columns
from triaxis.base.stats import interval, mean

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
WHOLE_SURGERY = """
SELECT model, variant, sequence, loss, perplexity, agreement, kl
FROM read_parquet($files, hive_partitioning = true, hive_types_autocast = false)
WHERE scope = 'all' ORDER BY model, variant, sequence
"""


def by_variant(files: Sequence[str | Path], models: Sequence[str], samples: int, seed: int) -> list[dict]:
    """The rows of surgery.csv, from all files of surgery/: one a (model, variant), models in the order given and
    variants by their loss, means over sequences, the loss with its interval."""
    with duckdb.connect(config={"threads": 2}) as connection:
        table = connection.sql(WHOLE_SURGERY, params={"files": [str(file) for file in files]}).to_arrow_table()
    frame = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    rows = []
    for model in models:
        own = []
        for variant in sorted(set(frame["variant"])):
            chosen = (frame["model"] == model) & (frame["variant"] == variant)
            low, high = interval((frame["loss"][chosen],), mean, samples, seed)
            means = {name: float(frame[name][chosen].mean()) for name in ("loss", "perplexity", "agreement", "kl")}
            own.append(
                {"model": model, "variant": variant, "sequences": int(chosen.sum())}
                | {"loss": means["loss"], "loss_low": low, "loss_high": high}
                | means
            )
        rows += sorted(own, key=lambda row: row["loss"])
    return rows


def surgery_losses(table: str | Path, models: Sequence[str]) -> dict[str, Losses]:
    """model -> the losses of its variants, least first, from surgery.csv; NaN for no interval."""
    ends = ", ".join(f"coalesce({name}, 'nan') AS {name}" for name in ("loss_low", "loss_high"))
    rows = columns(
        f"SELECT model, variant, loss, {ends} FROM read_csv($file, types = $types)",
        file=str(table),
        types={"model": "VARCHAR", "loss_low": "DOUBLE", "loss_high": "DOUBLE"},
    )
    return {
        model: Losses(
            rows["variant"][rows["model"] == model].tolist(),
            *(rows[name][rows["model"] == model].astype(float) for name in ("loss", "loss_low", "loss_high")),
        )
        for model in models
    }


def surgery_steps(surgery: str | Path, variant: str) -> Steps:
    """The mean losses of one variant's steps, from a file of surgery/; heads of the worst layer first."""
    rows = columns(
        "WITH own AS (SELECT * FROM read_parquet($file)), "
        "taken AS (SELECT DISTINCT sequence FROM own WHERE scope = 'layer') "
        "SELECT CASE WHEN variant = 'exact' THEN 'plain' ELSE scope END AS scope, layer, head, "
        "avg(loss ORDER BY sequence) AS loss FROM own "
        "WHERE sequence IN (FROM taken) AND (variant = $variant OR (variant = 'exact' AND scope = 'all')) "
        "GROUP BY ALL ORDER BY scope, layer, head",
        file=str(surgery),
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
