"""What the figures show, read from the Parquet of a run with DuckDB."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from triaxis.axes import AXES
from triaxis.plots import MatrixExample

Files = Sequence[str | Path]
Array = NDArray[np.float64]


def _query(sql: str, **parameters: Any) -> dict[str, NDArray]:
    """The columns of a query; a parameter that is a list of paths is given as text."""
    values = {
        name: [str(item) for item in value] if isinstance(value, list) else value for name, value in parameters.items()
    }
    with duckdb.connect(config={"threads": 1}) as connection:
        return connection.sql(sql, params=values).fetchnumpy()


def r_by_head(fits: Files, axes: str) -> dict[str, Array]:
    """model -> (layers, heads): r of one combination of axes, averaged over sequences."""
    rows = _query(
        "SELECT model, layer, head, avg(r ORDER BY sequence) AS r "
        "FROM read_parquet($fits, hive_partitioning = true, hive_types_autocast = false) "
        "WHERE axes = $axes GROUP BY model, layer, head ORDER BY model, layer, head",
        fits=list(fits),
        axes=axes,
    )
    return {
        model: rows["r"][rows["model"] == model].reshape(len(np.unique(rows["layer"][rows["model"] == model])), -1)
        for model in np.unique(rows["model"])
    }


def null_r(fits: Files) -> dict[str, float]:
    """axes -> the r of iid noise."""
    rows = _query("SELECT axes, any_value(null_r) AS null_r FROM read_parquet($fits) GROUP BY axes", fits=list(fits))
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
