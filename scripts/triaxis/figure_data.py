"""What the figures show, read with DuckDB from the Parquet of a run and from its tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from triaxis import tables
from triaxis.axes import AXES
from triaxis.features import read_features
from triaxis.mechanism import Grid, closed_form, heads_as_waves, turns_at
from triaxis.mechanism_plots import Dummies, Pairs, Surface
from triaxis.plots import MatrixExample
from triaxis.rope import from_table
from triaxis.surgery_plots import Losses, Steps

Files = Sequence[str | Path]
Array = NDArray[np.float64]


def _query(sql: str, **parameters: Any) -> dict[str, NDArray]:
    """The columns of a query; a parameter that is a list of paths is given as text."""
    values = {
        name: [str(item) for item in value] if isinstance(value, list) else value for name, value in parameters.items()
    }
    with duckdb.connect(config={"threads": 1}) as connection:
        return connection.sql(sql, params=values).fetchnumpy()


def r_by_head(heads: str | Path, axes: str) -> dict[str, Array]:
    """model -> (layers, heads): r of one combination of axes, from heads.csv."""
    types = {"model": "VARCHAR", "r": "DOUBLE"}
    rows = _query("FROM read_csv($file, types = $types) WHERE axes = $axes", file=str(heads), types=types, axes=axes)
    return _by_layer(rows, "r")


def null_r(heads: str | Path) -> dict[str, float]:
    """axes -> the r of iid noise, from heads.csv."""
    rows = _query("SELECT axes, any_value(null_r) AS null_r FROM read_csv($file) GROUP BY axes", file=str(heads))
    return {str(axes): float(value) for axes, value in zip(rows["axes"], rows["null_r"], strict=True)}


def distance_by_layer(components: Files) -> tuple[dict[str, list[int]], dict[str, Array]]:
    """model -> its layers, and model -> (layers, length): the distance component averaged over heads and sequences.

    Each layer is centred on its count-weighted mean, so that layers of different mean logit can be compared.
    """
    rows = _query(
        "SELECT model, layer, index, avg(value ORDER BY sequence, head) AS value "
        "FROM read_parquet($files, hive_partitioning = true, hive_types_autocast = false) WHERE axis = 'distance' "
        "GROUP BY model, layer, index ORDER BY model, layer, index",
        files=list(components),
    )
    layers, means = {}, {}
    for model in np.unique(rows["model"]):
        own = rows["model"] == model
        layers[model] = np.unique(rows["layer"][own]).tolist()
        values = rows["value"][own].reshape(len(layers[model]), -1)
        cells = np.arange(values.shape[1], 0, -1)  # a distance d has length - d causal cells
        means[model] = values - (values @ cells / cells.sum())[:, None]
    return layers, means


def matrix_examples(fits: str, logits: str, components: str, length: int) -> list[MatrixExample]:
    """The best, the median and the worst head by r in the first sequence of a shard."""
    rows = _query(
        "SELECT sequence, layer, head, r FROM read_parquet($fits) WHERE axes = 'distance+query+key' AND isfinite(r) "
        "AND sequence = (SELECT min(sequence) FROM read_parquet($fits)) ORDER BY r, layer, head",
        fits=fits,
    )
    count = len(rows["r"])
    examples = []
    for name, place in (("best", count - 1), ("median", (count - 1) // 2), ("worst", 0)):
        sequence, layer, head = (int(rows[column][place]) for column in ("sequence", "layer", "head"))
        chosen = {"sequence": sequence, "layer": layer, "head": head}
        where = "WHERE sequence = $sequence AND layer = $layer AND head = $head"
        cells = _query(f"SELECT query, key, logit FROM read_parquet($files) {where}", files=logits, **chosen)
        matrix = np.full((length, length), np.nan)
        matrix[cells["query"], cells["key"]] = cells["logit"]
        values = _query(f"SELECT axis, index, value FROM read_parquet($files) {where}", files=components, **chosen)
        parts = np.zeros((3, length))
        for row, axis in enumerate(AXES):
            own = values["axis"] == axis
            parts[row, values["index"][own]] = values["value"][own]
        examples.append(MatrixExample(f"{name}: layer {layer} head {head}", float(rows["r"][place]), matrix, parts))
    return examples


def additive_by_head(additive: str | Path) -> dict[str, Array]:
    """model -> (layers, heads): r_additive, from additive.csv; NaN in NoPE layers."""
    types = {"model": "VARCHAR", "r_additive": "DOUBLE"}
    rows = _query(
        "SELECT model, layer, coalesce(r_additive, 'nan') AS r FROM read_csv($file, types = $types)",
        file=str(additive),
        types=types,
    )
    return _by_layer(rows, "r")


def _by_layer(rows: dict[str, NDArray], name: str) -> dict[str, Array]:
    """Rows sorted by model, layer, head -> model -> (layers, heads)."""
    return {
        model: rows[name][rows["model"] == model].reshape(len(np.unique(rows["layer"][rows["model"] == model])), -1)
        for model in np.unique(rows["model"])
    }


def pairs_of(pairs: str | Path) -> dict[str, Pairs]:
    """model -> its rotary pairs, from pairs.csv."""
    rows = _query("FROM read_csv($file, types = $types)", file=str(pairs), types={"model": "VARCHAR"})
    names = ("turns", "norm_share", "key_constancy", "f", "g", "interaction")
    return {model: Pairs(*(rows[name][rows["model"] == model] for name in names)) for model in np.unique(rows["model"])}


def dummies_of(dummies: str | Path) -> dict[str, Dummies]:
    """model -> quartiles over heads of the key components' correlation, by distance, from dummies.csv."""
    rows = _query("FROM read_csv($file, types = $types)", file=str(dummies), types={"model": "VARCHAR"})
    curves = {}
    for model in np.unique(rows["model"]):
        own = rows["model"] == model
        quartiles = np.stack([rows[name][own] for name in ("low", "middle", "high")])
        curves[model] = Dummies(rows["distance"][own], quartiles)
    return curves


def typical_surface(probes: str, features: str, rope: str, grid: Grid) -> tuple[Surface, str]:
    """The logits of the last query of the first sequence, for the head whose r_additive there is the median.

    Returns the surface, its keys sorted by g, and a title that names the head.
    """
    rows = _query(
        "SELECT sequence, layer, head, query, r_additive FROM read_parquet($file) WHERE r_additive IS NOT NULL "
        "QUALIFY sequence = min(sequence) OVER () AND query = max(query) OVER () ORDER BY r_additive, layer, head",
        file=probes,
    )
    place = (len(rows["layer"]) - 1) // 2
    sequence, layer, head, query = (int(rows[name][place]) for name in ("sequence", "layer", "head", "query"))
    rotary = from_table(tables.read_parquet(rope))[layer]
    own = next(part for part in read_features(features, [layer]) if part.sequence == sequence)
    queries, keys = next((q, k) for number, q, k in heads_as_waves(own, rotary) if number == head)
    form = closed_form(keys[grid.keys], keys.mean(0), len(rotary.frequency), turns_at(rotary, grid.distances))
    one = queries[[query]]
    g = form.g(one)[0]
    order = np.argsort(g, kind="stable")
    additive = form.f(one)[0][:, None] + g[order]
    surface = Surface(grid.distances, grid.keys[order], form.logits(one)[0][:, order], additive)
    r = float(rows["r_additive"][place])
    return surface, f"layer {layer} head {head}, query {query}: r_additive = {r:.3f}, the median head"


def surgery_losses(table: str | Path, models: Sequence[str]) -> dict[str, Losses]:
    """model -> the losses of its variants, least first, from surgery.csv."""
    rows = _query("SELECT model, variant, loss, loss_low, loss_high FROM read_csv($file)", file=str(table))
    return {
        model: Losses(
            rows["variant"][rows["model"] == model].tolist(),
            *(rows[name][rows["model"] == model].astype(float) for name in ("loss", "loss_low", "loss_high")),
        )
        for model in models
    }


def surgery_steps(surgery: str | Path, variant: str) -> Steps:
    """The mean losses of one variant's steps, from a file of surgery/; heads of the worst layer first."""
    rows = _query(
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
