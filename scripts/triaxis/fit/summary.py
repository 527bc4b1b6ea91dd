"""The paper's tables: how well the fits hold, model by model, with bootstrap intervals over sequences."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triaxis.base import query, tables
from triaxis.base.names import control_of, weights_of
from triaxis.base.query import Columns, Files
from triaxis.base.stats import finite_mean, interval, mean, mean_with_interval
from triaxis.fit.combinations import AXES, FULL

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MatrixExample:
    """One logit matrix to show: name, sequence, r, the n positions of its queries and keys, which may be thinned, their
    logits (n, n) with NaN above the diagonal, components (3, length) in the stated gauge."""

    name: str
    sequence: int
    r: float
    positions: NDArray[np.int64]
    logits: Array
    components: Array


# One row a (model, axes, prefix, sequence): means over layers and heads, and what the pooled correlation is made of.
# Residuals of all heads add up; so do their squares about one common mean. A constant matrix has no r: it is counted,
# and left out of the rest.
FITS_BY_SEQUENCE = f"""
SELECT model, axes, prefix, sequence, count(*) AS matrices, count(*) FILTER (r IS NULL) AS constant_matrices,
       count(DISTINCT layer) AS layers, count(DISTINCT head) AS heads,
       avg(r ORDER BY layer, head) AS r, avg(r2 ORDER BY layer, head) AS r2,
       avg(adjusted_r2 ORDER BY layer, head) AS adjusted_r2, avg(heldout_r ORDER BY layer, head) AS heldout_r,
       any_value(null_r) AS null_r,
       sum(count) FILTER (r IS NOT NULL)::DOUBLE AS count,
       sum(total ORDER BY layer, head) FILTER (r IS NOT NULL) AS total,
       sum(squares ORDER BY layer, head) FILTER (r IS NOT NULL) AS squares,
       sum((1 - r2) * (squares - total * total / count) ORDER BY layer, head) AS residual
FROM {query.stage("$fits")}
GROUP BY model, axes, prefix, sequence ORDER BY model, axes, prefix, sequence
"""


def by_sequence(fits: Files) -> Columns:
    """A row a (model, axes, prefix, sequence) from all files of fits/: see FITS_BY_SEQUENCE."""
    return query.columns(FITS_BY_SEQUENCE, fits=fits)


def of_whole_sequences(frame: Columns) -> Columns:
    """The rows of `by_sequence` that are not of the first tokens alone."""
    return query.where(frame, prefix=frame["prefix"].max())


def pooled_r(count: NDArray, total: NDArray, squares: NDArray, residual: NDArray, axis: int = -1) -> NDArray:
    """Correlation of all cells of a model with their fits, each matrix with its own fit; sums along `axis`.

    A fit has the mean of its matrix, so the covariance is the variance of the fits: r^2 = 1 - residual / spread.
    NaN without cells, or if all are equal.
    """
    with np.errstate(invalid="ignore"):  # 0 / 0
        spread = squares.sum(axis) - total.sum(axis) ** 2 / count.sum(axis)
        return np.sqrt(1 - residual.sum(axis) / spread)


def fits_by_model(frame: Columns, axes: str, models: Sequence[str], samples: int, seed: int) -> list[dict]:
    """One row a model, in the order of `models`, for one combination of axes, from the rows of `by_sequence` of one
    prefix.

    Means are over sequences, of means over the matrices that are not constant; constant_matrices counts the others.
    A model all of whose matrices are constant has NaN.
    """
    rows = []
    for model in models:
        chosen = (frame["model"] == model) & (frame["axes"] == axes)
        own = {name: values[chosen] for name, values in frame.items()}
        varied = np.isfinite(own["r"].astype(float))
        r, *pool = (own[name][varied].astype(float) for name in ("r", "count", "total", "squares", "residual"))
        low, high = interval((r,), mean, samples, seed)
        pooled_low, pooled_high = interval(tuple(pool), pooled_r, samples, seed)
        rows.append(
            {
                "model": model,
                "weights": weights_of(model),
                "sequences": int(chosen.sum()),
                "layers": int(own["layers"].max()),
                "heads": int(own["heads"].max()),
                "constant_matrices": int(own["constant_matrices"].sum()),
                "axes": axes,
                "mean_r": finite_mean(r),
                "mean_r_low": low,
                "mean_r_high": high,
                "pooled_r": float(pooled_r(*pool)) if varied.any() else float("nan"),
                "pooled_r_low": pooled_low,
                "pooled_r_high": pooled_high,
                "adjusted_r2": finite_mean(own["adjusted_r2"]),
                "heldout_r": finite_mean(own["heldout_r"]),
                "null_r": float(own["null_r"].mean()),
            }
        )
    return rows


# What prefixes.csv takes from additive_prefixes.csv, each with the ends of its interval.
FROM_ADDITIVE = ("r_additive", "key_independence", "distance_independence", "interaction")


def fits_by_prefix(
    frame: Columns,
    models: Sequence[str],
    additive: Sequence[Mapping[str, Any]],
    training_lengths: Mapping[str, float],
    samples: int,
    seed: int,
) -> list[dict]:
    """The rows of prefixes.csv: one a (model, prefix), of the full fit, from the rows of `by_sequence`.

    additive: the rows of additive_prefixes.csv, none if the mechanism was not measured; training_lengths: of each
    model, NaN where it is not known.
    """
    measured = {(row["model"], row["prefix"]): row for row in additive}
    names = [f"{name}{end}" for name in FROM_ADDITIVE for end in ("", "_low", "_high")]
    rows = []
    for model in models:
        for prefix in np.unique(frame["prefix"]).tolist():
            own = query.where(frame, model=model, axes=FULL, prefix=prefix)
            rows.append(
                {
                    "model": model,
                    "weights": weights_of(model),
                    "prefix": prefix,
                    "training_length": training_lengths[model],
                    "sequences": len(own["r"]),
                    "constant_matrices": int(own["constant_matrices"].sum()),
                    **mean_with_interval("mean_r", own["r"], samples, seed),
                    **mean_with_interval("adjusted_r2", own["adjusted_r2"], samples, seed),
                    "heldout_r": finite_mean(own["heldout_r"]),
                    "null_r": float(own["null_r"].mean()),
                    **{
                        f"mean_{name}": measured.get((model, prefix), {}).get(f"mean_{name}", float("nan"))
                        for name in names
                    },
                }
            )
    return rows


# What headline.csv takes from mechanism.csv, and under which name.
FROM_MECHANISM = {
    "r_additive": "mean_r_additive",
    "key_independence": "mean_key_independence",
    "distance_independence": "mean_distance_independence",
    "interaction": "mean_interaction",
    "scrambled_r_additive": "scrambled_r_additive",
    "scrambled_key_independence": "scrambled_key_independence",
    "scrambled_distance_independence": "scrambled_distance_independence",
    "scrambled_interaction": "scrambled_interaction",
}


def headline(rows: list[dict], mechanism: Mapping[str, Mapping[str, Any]], rotary: Sequence[str]) -> list[dict]:
    """The rows of headline.csv: each model's full fit beside its random control's mean r, and how additive its
    logits are; mechanism: model -> its row of mechanism.csv, if that was measured; rotary: the models that have one."""
    mean_r = {row["model"]: row["mean_r"] for row in rows}
    return [
        {key: value for key, value in row.items() if key != "axes"}
        | {"random_r": mean_r.get(control_of(row["model"]), float("nan"))}
        | {name: mechanism.get(row["model"], {}).get(column, float("nan")) for name, column in FROM_MECHANISM.items()}
        | {"mechanism": _mechanism(row["model"], mechanism, rotary)}
        for row in rows
    ]


def _mechanism(model: str, mechanism: Container[str], rotary: Container[str]) -> str:
    """Whether a model's mechanism was measured, could have been, or does not exist (no rotation that can be seen)."""
    return "measured" if model in mechanism else "not measured" if model in rotary else "not applicable"


# What scale.csv takes from mechanism.csv, each with the ends of its interval.
SCALED = ("mean_r_additive", "mean_interaction")


def scale(
    fits: Sequence[Mapping[str, Any]], mechanism: Mapping[str, Mapping[str, Any]], parameters: Mapping[str, int]
) -> list[dict]:
    """The rows of scale.csv, one a model: its number of parameters beside what was found.

    fits: the rows of axes.csv of the full fit; mechanism: model -> its row of mechanism.csv, if that was measured;
    parameters: of each model.
    """
    names = [f"{name}{end}" for name in SCALED for end in ("", "_low", "_high")]
    return [
        {"model": row["model"], "weights": row["weights"], "parameters": parameters[row["model"]]}
        | {f"mean_r{end}": row[f"mean_r{end}"] for end in ("", "_low", "_high")}
        | {name: mechanism.get(row["model"], {}).get(name, float("nan")) for name in names}
        for row in fits
    ]


def to_tex(rows: list[dict]) -> str:
    """The headline rows as a LaTeX table (booktabs), intervals in brackets."""

    def number(value: float) -> str:
        return "--" if value != value else f"{value:.3f}"

    def with_interval(row: dict, name: str) -> str:
        return f"{number(row[name])} [{number(row[f'{name}_low'])}, {number(row[f'{name}_high'])}]"

    body = [
        " & ".join(
            [
                str(row["model"]).replace("_", r"\_"),
                str(row["sequences"]),
                with_interval(row, "mean_r"),
                with_interval(row, "pooled_r"),
                number(row["adjusted_r2"]),
                number(row["heldout_r"]),
                number(row["null_r"]),
                number(row["random_r"]),
                *(number(row[name]) if row["mechanism"] == "measured" else "n/a" for name in FROM_MECHANISM),
            ]
        )
        + r" \\"
        for row in rows
    ]
    head = (
        r"model & sequences & mean $r$ & pooled $r$ & adjusted $R^2$ & held-out $r$ & null $r$ & random $r$ "
        r"& additive $r$ & key independence & distance independence & interaction "
        r"& additive $r$, scrambled & key independence, scrambled & distance independence, scrambled "
        r"& interaction, scrambled \\"
    )
    columns = "lrll" + "r" * (4 + len(FROM_MECHANISM))
    before, after = (
        [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule"],
        [r"\bottomrule", r"\end{tabular}"],
    )
    return "\n".join([*before, *body, *after]) + "\n"


def r_by_head(heads: str | Path, axes: str) -> dict[str, Array]:
    """model -> (layers, heads): r of one combination of axes, from r_by_head.csv; NaN of constant matrices alone."""
    return query.by_layer(query.where(tables.read_columns(heads), axes=axes), "r")


def by_prefix(table: str | Path) -> dict[str, Columns]:
    """model -> its rows of prefixes.csv, from the shortest to the whole sequence."""
    rows = tables.read_columns(table)
    return {model: query.where(rows, model=model) for model in dict.fromkeys(rows["model"].tolist())}


def null_r(heads: str | Path) -> dict[str, float]:
    """axes -> the r of iid noise, from r_by_head.csv."""
    rows = tables.read_columns(heads)
    return dict(zip(rows["axes"].tolist(), rows["null_r"].tolist(), strict=True))


# Fewer cells than this at a distance tell of these tokens, not of the distance.
FEWEST_CELLS = 8
# A row a (model, layer, head, bin of distances): the distance component, less its mean over all cells, averaged over
# sequences and over the cells of the bin. Bins are single distances at first, and then a sixteenth of an octave each:
# at 8,192 tokens a figure has no place for more. A distance d has length - d causal cells.
DISTANCE_BY_HEAD = f"""
WITH components AS (SELECT * FROM {query.stage()} WHERE axis = 'distance'),
lengths AS (SELECT model, max(index) + 1 AS length FROM components GROUP BY model),
own AS (SELECT *, length - index AS cells FROM components JOIN lengths USING (model)),
means AS (
    SELECT model, layer, head, sum(value * cells) / sum(cells) AS mean FROM own GROUP BY model, layer, head
)
SELECT model, layer, head, any_value(length) AS length,
       CASE WHEN index < 24 THEN index ELSE 24 + floor(16 * log2((index + 1) / 25)) END AS bin,
       sum(index * cells) / sum(cells) AS distance, sum(value * cells) / sum(cells) - any_value(mean) AS value
FROM own JOIN means USING (model, layer, head)
WHERE cells >= $fewest
GROUP BY model, layer, head, bin ORDER BY model, layer, head, bin
"""


@dataclass(frozen=True)
class Depth:
    """Distance components of the heads in some layers of a model: the first and the last of these layers, distances
    (n,) and components (heads, n), each less its mean over all cells."""

    first: int
    last: int
    distance: Array
    components: Array


def distance_by_depth(components: Files) -> dict[str, list[Depth]]:
    """model -> its first, middle and last third of layers, fewer if it has fewer layers; means over sequences of each
    head. Distances at which fewer than FEWEST_CELLS cells remain are left out."""
    rows = query.columns(DISTANCE_BY_HEAD, files=components, fewest=FEWEST_CELLS)
    found = {}
    for model in np.unique(rows["model"]):
        own = query.where(rows, model=model)
        distance = own["distance"][own["bin"].argsort(kind="stable")].reshape(len(np.unique(own["bin"])), -1)[:, 0]
        heads = own["value"].reshape(-1, len(distance))
        layer = own["layer"].reshape(heads.shape)[:, 0]
        thirds = [part for part in np.array_split(np.unique(layer), 3) if len(part)]
        found[model] = [Depth(int(part[0]), int(part[-1]), distance, heads[np.isin(layer, part)]) for part in thirds]
    return found


def matrix_examples(fits: str, logits: str, components: str, length: int) -> list[MatrixExample]:
    """The best, the median and the worst head by r in the first sequence of a shard, each head once: fewer than three
    where fewer have logits that vary."""
    rows = query.columns(
        f"SELECT sequence, layer, head, r FROM {query.stage()} WHERE axes = $axes AND r IS NOT NULL "
        f"AND sequence = (SELECT min(sequence) FROM {query.stage()}) AND prefix = $length ORDER BY r, layer, head",
        files=[fits],
        axes=FULL,
        length=length,
    )
    count = len(rows["r"])
    examples = []
    places = {(count - 1) // 2: "median", 0: "worst", count - 1: "best"} if count else {}
    for place, name in sorted(places.items(), reverse=True):
        sequence, layer, head = (int(rows[column][place]) for column in ("sequence", "layer", "head"))
        chosen = {"sequence": sequence, "layer": layer, "head": head}
        where = "WHERE sequence = $sequence AND layer = $layer AND head = $head"
        cells = query.columns(f"SELECT query, key, logit FROM {query.stage()} {where}", files=[logits], **chosen)
        positions = np.unique(cells["query"])
        matrix = np.full((len(positions), len(positions)), np.nan)
        matrix[np.searchsorted(positions, cells["query"]), np.searchsorted(positions, cells["key"])] = cells["logit"]
        values = query.columns(f"SELECT axis, index, value FROM {query.stage()} {where}", files=[components], **chosen)
        parts = np.zeros((3, length))
        for row, axis in enumerate(AXES):
            own = values["axis"] == axis
            parts[row, values["index"][own]] = values["value"][own]
        title = f"{name}: layer {layer} head {head}"
        examples.append(MatrixExample(title, sequence, float(rows["r"][place]), positions, matrix, parts))
    return examples


# Over sequences, for each combination of axes (fits/). null_r: of iid noise.
R_BY_HEAD = f"""
SELECT model, axes, layer, head, avg(r ORDER BY sequence) AS r, any_value(null_r) AS null_r
FROM {query.stage()} WHERE prefix = (SELECT max(prefix) FROM {query.stage()})
GROUP BY model, axes, layer, head ORDER BY model, axes, layer, head
"""
