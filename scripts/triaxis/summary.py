"""The paper's tables: how well the fits hold, model by model, with bootstrap intervals over sequences."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import bootstrap

# Han & Ji 2025: the mean correlation of the three-axis fit on Llama-3.2-3B.
PAPER_R = 0.959

# One row a (model, axes, sequence): means over layers and heads, and what the pooled correlation is made of.
# Residuals of all heads add up; so do their squares about one common mean. Without the autocast off, a model named 7
# or 2024-01-01 would become a number or a date.
BY_SEQUENCE = """
WITH fits AS (SELECT * FROM read_parquet($fits, hive_partitioning = true, hive_types_autocast = false)),
spread AS (
    SELECT model, sequence, layer, head, count, total, squares
    FROM read_parquet($sums, hive_partitioning = true, hive_types_autocast = false) WHERE axis = 'all'
)
SELECT model, axes, sequence, count(*) AS matrices, count(DISTINCT layer) AS layers, count(DISTINCT head) AS heads,
       avg(r ORDER BY layer, head) AS r, avg(r2 ORDER BY layer, head) AS r2,
       avg(adjusted_r2 ORDER BY layer, head) AS adjusted_r2, avg(heldout_r ORDER BY layer, head) AS heldout_r,
       any_value(null_r) AS null_r,
       sum(count)::DOUBLE AS count, sum(total ORDER BY layer, head) AS total,
       sum(squares ORDER BY layer, head) AS squares,
       sum((1 - r2) * (squares - total * total / count) ORDER BY layer, head) AS residual
FROM fits JOIN spread USING (model, sequence, layer, head)
GROUP BY model, axes, sequence ORDER BY model, axes, sequence
"""


def by_sequence(fits: Sequence[str | Path], sums: Sequence[str | Path]) -> pa.Table:
    """A row a (model, axes, sequence) from all files of fits/ and sums/: see BY_SEQUENCE."""
    files = {"fits": [str(file) for file in fits], "sums": [str(file) for file in sums]}
    with duckdb.connect(config={"threads": 2}) as connection:
        return connection.sql(BY_SEQUENCE, params=files).to_arrow_table()


def pooled_r(count: NDArray, total: NDArray, squares: NDArray, residual: NDArray, axis: int = -1) -> NDArray:
    """Correlation of all cells of a model with their fits, each matrix with its own fit; sums along `axis`.

    A fit has the mean of its matrix, so the covariance is the variance of the fits: r^2 = 1 - residual / spread.
    """
    spread = squares.sum(axis) - total.sum(axis) ** 2 / count.sum(axis)
    return np.sqrt(1 - residual.sum(axis) / spread)


def interval(columns: tuple[NDArray, ...], statistic, samples: int, seed: int) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """The 95 % percentile bootstrap interval of `statistic(*columns, axis)` over sequences; NaN for only one.

    columns: one array (sequences,) each, resampled together. Efron & Tibshirani 1993, chapter 13.
    """
    if len(columns[0]) < 2:
        return float("nan"), float("nan")
    result = bootstrap(
        columns, statistic, paired=True, vectorized=True, n_resamples=samples, method="percentile", rng=seed
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _mean(values: NDArray, axis: int = -1) -> NDArray:
    return values.mean(axis)


def summarise(table: pa.Table, axes: str, models: Sequence[str], samples: int, seed: int) -> list[dict]:
    """One row a model, in the order of `models`, for one combination of axes, from the rows of `by_sequence`."""
    rows = []
    frame = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    for model in models:
        chosen = (frame["model"] == model) & (frame["axes"] == axes)
        own = {name: values[chosen] for name, values in frame.items()}
        pool = tuple(own[name].astype(float) for name in ("count", "total", "squares", "residual"))
        low, high = interval((own["r"],), _mean, samples, seed)
        pooled_low, pooled_high = interval(pool, pooled_r, samples, seed)
        rows.append(
            {
                "model": model,
                "weights": "random" if model.endswith("-random") else "trained",
                "sequences": int(chosen.sum()),
                "layers": int(own["layers"].max()),
                "heads": int(own["heads"].max()),
                "axes": axes,
                "mean_r": float(own["r"].mean()),
                "mean_r_low": low,
                "mean_r_high": high,
                "pooled_r": float(pooled_r(*pool)),
                "pooled_r_low": pooled_low,
                "pooled_r_high": pooled_high,
                "adjusted_r2": float(own["adjusted_r2"].mean()),
                "heldout_r": float(own["heldout_r"].mean()),
                "null_r": float(own["null_r"].mean()),
            }
        )
    return rows


# What headline.csv takes from mechanism.csv, and under which name.
FROM_MECHANISM = {
    "r_additive": "mean_r_additive",
    "r_closed_form": "mean_r_closed_form",
    "interaction": "mean_interaction",
}


def headline(rows: list[dict], mechanism: Mapping[str, Mapping[str, Any]]) -> list[dict]:
    """The rows of headline.csv: each model's full fit beside its random control's mean r, the paper's, and how
    additive its logits are; mechanism: model -> its row of mechanism.csv, which a model without rotation lacks."""
    mean_r = {row["model"]: row["mean_r"] for row in rows}
    return [
        {key: value for key, value in row.items() if key != "axes"}
        | {"random_r": mean_r.get(f"{row['model']}-random", float("nan")), "paper_r": PAPER_R}
        | {name: mechanism.get(row["model"], {}).get(column, float("nan")) for name, column in FROM_MECHANISM.items()}
        | {"mechanism": "measured" if row["model"] in mechanism else "not applicable"}
        for row in rows
    ]


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
            low, high = interval((frame["loss"][chosen],), _mean, samples, seed)
            means = {name: float(frame[name][chosen].mean()) for name in ("loss", "perplexity", "agreement", "kl")}
            own.append(
                {"model": model, "variant": variant, "sequences": int(chosen.sum())}
                | {"loss": means["loss"], "loss_low": low, "loss_high": high}
                | means
            )
        rows += sorted(own, key=lambda row: row["loss"])
    return rows


def to_csv(rows: list[dict]) -> str:
    """Rows as CSV, floats with 6 decimals, NaN as nothing."""
    lines = [",".join(rows[0])]
    for row in rows:
        lines.append(
            ",".join(
                "" if value != value else f"{value:.6f}" if isinstance(value, float) else str(value)
                for value in row.values()
            )
        )
    return "\n".join(lines) + "\n"


TEXTS = {"model", "weights", "axes"}


def from_csv(path: str | Path) -> list[dict]:
    """The rows that `to_csv` gave: numbers as numbers, nothing as NaN; a model's name stays text."""

    def value(name: str, text: str) -> str | int | float:
        return text if name in TEXTS else int(text) if text.isdigit() else float(text or "nan")

    with open(path) as file:
        return [{name: value(name, text) for name, text in row.items()} for row in csv.DictReader(file)]


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
                number(row["paper_r"]),
                *(number(row[name]) if row["mechanism"] == "measured" else "n/a" for name in FROM_MECHANISM),
            ]
        )
        + r" \\"
        for row in rows
    ]
    head = (
        r"model & sequences & mean $r$ & pooled $r$ & adjusted $R^2$ & held-out $r$ & null $r$ & random $r$ "
        r"& paper $r$ & additive $r$ & closed-form $r$ & interaction \\"
    )
    return (
        "\n".join(
            [r"\begin{tabular}{lrllrrrrrrrr}", r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
        )
        + "\n"
    )
