"""The tables of the mechanism: how additive each model's logits are, and at which frequencies their norm lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary, frequency_groups
from triaxis.base import query, tables
from triaxis.base.names import control_of, weights_of
from triaxis.base.query import Columns, Files
from triaxis.base.stats import finite_mean, interval, mean_with_interval
from triaxis.mechanism.names import OWN, SCRAMBLED, SHARES

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """The rotary pairs of a model's layers of one frequency table, averaged over sequences, these layers and heads.

    Arrays (pairs,), slowest last. first_layer, layers: the first of these layers, and how many they are. values: of
    each of MEASURED, and of the ends of its interval over sequences, NAME_low and NAME_high.
    """

    first_layer: int
    layers: int
    turns: Array
    values: Mapping[str, Array]


@dataclass(frozen=True)
class Dummies:
    """Over heads, at each distance: quartiles (3, distances) of the correlation of the key components."""

    distances: NDArray[np.integer]
    key_correlation: Array


def additive_by_head(additive: str | Path, name: str, phases: str) -> dict[str, Array]:
    """model -> (layers, heads): one of SHARES, from additive.csv, with the keys' phases as they are or scrambled; NaN
    in NoPE layers, and where there is nothing to share."""
    return query.by_layer(query.where(tables.read_columns(additive), phases=phases), name)


def pairs_of(pairs: str | Path) -> dict[str, list[Pairs]]:
    """model -> its rotary pairs, from pairs.csv: one for each frequency table, by first layer; NaN where every logit is
    constant."""
    rows = tables.read_columns(pairs)
    names = [f"{name}{end}" for name in MEASURED for end in ("", "_low", "_high")]
    found: dict[str, list[Pairs]] = {}
    for model, first in sorted(set(zip(rows["model"].tolist(), rows["first_layer"].tolist(), strict=True))):
        own = query.where(rows, model=model, first_layer=first)
        values = {name: own[name] for name in names}
        found.setdefault(model, []).append(Pairs(first, int(own["layers"][0]), own["turns"], values))
    return found


def frequency_tables(rotaries: Mapping[str, Mapping[int, Rotary]]) -> dict[str, list[Any]]:
    """The parameters of PAIRS: model by model, each layer and the first of those that share its frequencies."""
    rows = [
        (model, layer, layers[0])
        for model, own in rotaries.items()
        for layers in frequency_groups(own)
        for layer in layers
    ]
    return {name: [row[n] for row in rows] for n, name in enumerate(("models", "layers", "first_layers"))}


def dummies_of(dummies: str | Path) -> dict[str, Dummies]:
    """model -> quartiles over heads of the key components' correlation, by distance, from dummies.csv; NaN where no
    head has any."""
    rows = tables.read_columns(dummies)
    curves = {}
    for model in np.unique(rows["model"]):
        own = rows["model"] == model
        quartiles = np.stack([rows[name][own] for name in ("low", "middle", "high")])
        curves[model] = Dummies(rows["distance"][own], quartiles)
    return curves


# Over sequences and queries (additivity/), for the keys' phases as they are and scrambled; nothing in NoPE layers. Here
# and below, rows are added up in the order of the files, which one thread reads: to sort millions would take longer
# than all the rest.
ADDITIVE = f"""
SELECT model, phases, layer, head, {", ".join(f"avg({name}) AS {name}" for name in SHARES)}
FROM {query.stage()} WHERE first_token AND prefix = $length
GROUP BY model, phases, layer, head ORDER BY model, phases, layer, head
"""

# A model's rotary pairs in each sequence, over heads and the layers of one frequency table, first token included
# (patterns/): pairs of one number have other frequencies in other tables. f, g, interaction: parts of `variance`, that
# of all logits of the sequence.
PAIRS_BY_SEQUENCE = f"""
WITH tables AS (
    SELECT unnest($models) AS model, unnest($layers)::SMALLINT AS layer,
           unnest($first_layers)::SMALLINT AS first_layer
), own AS (
    SELECT * FROM {query.stage()} JOIN tables USING (model, layer) WHERE first_token
), whole AS (
    SELECT model, sequence, sum(f_variance + g_variance + interaction_variance ORDER BY layer, head, pair) AS variance
    FROM own GROUP BY model, sequence
)
SELECT model, first_layer, count(DISTINCT layer) AS layers, pair, sequence,
       first(frequency ORDER BY layer, head) AS frequency, avg(turns ORDER BY layer, head) AS turns,
       avg(norm_share ORDER BY layer, head) AS norm_share, avg(key_constancy ORDER BY layer, head) AS key_constancy,
       sum(f_variance ORDER BY layer, head) AS f, sum(g_variance ORDER BY layer, head) AS g,
       sum(interaction_variance ORDER BY layer, head) AS interaction, any_value(variance) AS variance
FROM own JOIN whole USING (model, sequence) WHERE pair IS NOT NULL
GROUP BY model, first_layer, pair, sequence ORDER BY model, first_layer, pair, sequence
"""
# What pairs.csv says of each pair, with the ends of its interval: the last three as shares of the variance of all
# logits of the model.
MEANS, PARTS = ("norm_share", "key_constancy"), ("f", "g", "interaction")
MEASURED = (*MEANS, *PARTS)

# Quartiles over heads, each averaged over sequences, of the key components' correlation (dummies/).
DUMMY_QUARTILES = f"""
WITH heads AS (
    SELECT model, layer, head, distance, avg(key_correlation ORDER BY sequence) AS r
    FROM {query.stage()}
    WHERE distance IS NOT NULL GROUP BY model, layer, head, distance
)
SELECT model, distance, quantile_cont(r, 0.25) AS low, quantile_cont(r, 0.5) AS middle, quantile_cont(r, 0.75) AS high
FROM heads GROUP BY model, distance ORDER BY model, distance
"""

# The slowest pairs whose share of the norm the table gives: three of eight.
SLOW = 3 / 8

# Layers without rotary dimensions have nulls, which avg leaves out. interaction: its share of a query's variance.
ADDITIVITY_BY_SEQUENCE = f"""
SELECT model, prefix, phases, first_token, sequence, count(DISTINCT layer) AS layers,
       count(DISTINCT layer) - count(DISTINCT layer) FILTER (bound_mean IS NOT NULL) AS nope_layers,
       count(DISTINCT head) AS heads, {", ".join(f"avg({name}) AS {name}" for name in SHARES)},
       avg(1 - r_additive * r_additive) AS interaction
FROM {query.stage()}
GROUP BY model, prefix, phases, first_token, sequence ORDER BY model, prefix, phases, first_token, sequence
"""

PATTERNS_BY_SEQUENCE = f"""
WITH ranked AS (
    SELECT *, row_number() OVER slowest AS rank, count(pair) OVER head AS pairs
    FROM {query.stage()}
    WINDOW slowest AS (
               PARTITION BY model, sequence, layer, head, first_token ORDER BY abs(frequency), pair
           ),
           head AS (PARTITION BY model, sequence, layer, head, first_token)
), heads AS (
    SELECT model, sequence, layer, head, first_token,
           sum(norm_share ORDER BY pair) FILTER (rank <= greatest(1, floor(pairs * $slow))) AS slow,
           sum(interaction_variance ORDER BY pair) AS interaction,
           sum(f_variance + g_variance + interaction_variance ORDER BY pair) AS variance
    FROM ranked WHERE pairs > 0
    GROUP BY model, sequence, layer, head, first_token
)
SELECT model, sequence,
       avg(slow ORDER BY layer, head) FILTER (first_token) AS slow_norm_share,
       sum(interaction ORDER BY layer, head) FILTER (first_token) AS interaction,
       sum(variance ORDER BY layer, head) FILTER (first_token) AS variance,
       sum(interaction ORDER BY layer, head) FILTER (NOT first_token) AS rest_interaction,
       sum(variance ORDER BY layer, head) FILTER (NOT first_token) AS rest_variance
FROM heads GROUP BY model, sequence ORDER BY model, sequence
"""

# The mean of W_d follows a_d up to a linear trend, which the gauge sets and no data can: it is taken from both, which
# is a partial correlation. Distances weigh as their cells: a_d is estimated from length - d of them. Below rounding
# there is no variance to correlate.
DUMMIES_BY_SEQUENCE = f"""
WITH weighted AS (
    SELECT *, max(distance) OVER (PARTITION BY model) + 1 - distance AS weight
    FROM {query.stage()} WHERE distance IS NOT NULL
), centred AS (
    SELECT *, mean - sum(weight * mean) OVER matrix / sum(weight) OVER matrix AS x,
           component - sum(weight * component) OVER matrix / sum(weight) OVER matrix AS y,
           distance - sum(weight * distance) OVER matrix / sum(weight) OVER matrix AS z
    FROM weighted
    WINDOW matrix AS (
        PARTITION BY model, sequence, layer, head ORDER BY distance
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    )
), products AS (
    SELECT model, sequence, layer, head, avg(key_correlation ORDER BY distance) AS key_correlation,
           sum(weight * x * x ORDER BY distance) AS xx, sum(weight * y * y ORDER BY distance) AS yy,
           sum(weight * z * z ORDER BY distance) AS zz, sum(weight * x * y ORDER BY distance) AS xy,
           sum(weight * x * z ORDER BY distance) AS xz, sum(weight * y * z ORDER BY distance) AS yz
    FROM centred GROUP BY model, sequence, layer, head
), partial AS (
    SELECT *, xx - xz * xz / zz AS left_variance, yy - yz * yz / zz AS right_variance FROM products
)
SELECT model, sequence, avg(key_correlation ORDER BY layer, head) AS key_correlation,
       avg((xy - xz * yz / zz) / sqrt(greatest(left_variance * right_variance, 0)) ORDER BY layer, head)
           FILTER (left_variance > 1e-12 * xx AND right_variance > 1e-12 * yy) AS mean_correlation
FROM partial GROUP BY model, sequence ORDER BY model, sequence
"""


def additivity_by_sequence(additivity: Files) -> Columns:
    """A row a (model, prefix, phases, first_token, sequence) from all files of additivity/."""
    return query.columns(ADDITIVITY_BY_SEQUENCE, files=additivity)


def mechanism_by_model(
    queries: Columns,
    dummies: Files,
    patterns: Files,
    null_r: dict[str, float],
    length: int,
    samples: int,
    seed: int,
) -> list[dict]:
    """The rows of mechanism.csv, one a model, in the order of `null_r` (`closed_form.null_r_additive`).

    queries: from `additivity_by_sequence`; length: of whole sequences. mean_ of SHARES and of the interaction: over
    sequences, rotary layers, heads and queries, with bootstrap intervals over sequences; scrambled_: the same for keys
    with scrambled phases; rest_: without the first token; random_: of the random control. pooled_interaction: the
    interaction's share of all variance, over all queries, keys and distances; rest_interaction: without the first
    token. slow_norm_share: of the slowest three eighths of the pairs. key_correlation, mean_correlation: how the
    dummy-distance matrices keep the key component and follow a_d."""
    pattern = query.columns(PATTERNS_BY_SEQUENCE, files=patterns, slow=SLOW)
    dummy = query.columns(DUMMIES_BY_SEQUENCE, files=dummies)
    rows = []
    for model in null_r:
        whole = query.where(queries, model=model, prefix=length)
        own = query.where(whole, phases=OWN, first_token=True)
        norms, matrix = (query.where(frame, model=model) for frame in (pattern, dummy))
        row: dict[str, Any] = {
            "model": model,
            "weights": weights_of(model),
            "sequences": len(own["sequence"]),
            "layers": int(own["layers"].max()),
            "nope_layers": int(own["nope_layers"].max()),
            "heads": int(own["heads"].max()),
        }
        for name in (*SHARES, "interaction"):
            row |= mean_with_interval(f"mean_{name}", own[name], samples, seed)
        row |= {"null_r": null_r[model]} | dict.fromkeys([f"random_{name}" for name in SHARES], np.nan)
        scrambled = query.where(whole, phases=SCRAMBLED)
        for name in (*SHARES, "interaction"):
            row |= mean_with_interval(f"scrambled_{name}", scrambled[name], samples, seed)
        rest = query.where(whole, phases=OWN, first_token=False)
        row |= {f"rest_{name}": finite_mean(rest[name]) for name in SHARES}
        for part, prefix in (("pooled_interaction", ""), ("rest_interaction", "rest_")):
            row[part] = _ratio(norms[f"{prefix}interaction"], norms[f"{prefix}variance"])
        row |= mean_with_interval("slow_norm_share", norms["slow_norm_share"], samples, seed)
        for name in ("key_correlation", "mean_correlation"):
            row |= mean_with_interval(name, matrix[name], samples, seed)
        rows.append(row)
    by_model = {row["model"]: row for row in rows}
    for row in rows:
        if control := by_model.get(control_of(row["model"])):
            row |= {f"random_{name}": control[f"mean_{name}"] for name in SHARES}
    return rows


def additive_by_prefix(queries: Columns, models: Sequence[str], samples: int, seed: int) -> list[dict]:
    """The rows of additive_prefixes.csv, one a (model, prefix): means of SHARES and of the interaction, as in
    mechanism.csv, over the first so many tokens of each sequence; the last prefix is the whole."""
    rows = []
    for model in models:
        for prefix in np.unique(queries["prefix"]).tolist():
            own = query.where(queries, model=model, prefix=prefix, phases=OWN, first_token=True)
            row: dict[str, Any] = {"model": model, "prefix": prefix, "sequences": len(own["sequence"])}
            for name in (*SHARES, "interaction"):
                row |= mean_with_interval(f"mean_{name}", own[name], samples, seed)
            rows.append(row)
    return rows


def pairs_by_frequency(patterns: Files, layers: Mapping[str, list[Any]], samples: int, seed: int) -> list[dict]:
    """The rows of pairs.csv, one a (model, frequency table, pair), with bootstrap intervals over sequences; layers: as
    `frequency_tables` has them."""
    found = query.columns(PAIRS_BY_SEQUENCE, files=patterns, **layers)
    keys = list(zip(*(found[name].tolist() for name in ("model", "first_layer", "pair")), strict=True))
    rows = []
    for model, first, pair in dict.fromkeys(keys):
        own = query.where(found, model=model, first_layer=first, pair=pair)
        row: dict[str, Any] = {"model": model, "first_layer": first, "layers": int(own["layers"][0]), "pair": pair}
        row |= {"frequency": float(own["frequency"][0]), "turns": finite_mean(own["turns"])}
        for name in MEANS:
            row |= mean_with_interval(name, own[name], samples, seed)
        varied = own["variance"].sum() > 0
        for name in PARTS:
            low, high = interval((own[name], own["variance"]), _shares, samples, seed) if varied else (np.nan, np.nan)
            row |= {name: _ratio(own[name], own["variance"]), f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return rows


def _shares(part: NDArray, whole: NDArray, axis: int = -1) -> NDArray:
    with np.errstate(invalid="ignore"):  # 0 / 0, where every sequence drawn is constant
        return part.sum(axis) / whole.sum(axis)


def _ratio(part: np.ndarray, whole: np.ndarray) -> float:
    """The share of one sum in another; NaN of nothing."""
    return float(np.nansum(part) / np.nansum(whole)) if np.nansum(whole) > 0 else float("nan")
