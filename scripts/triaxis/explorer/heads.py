"""Every head with its measures, and which heads have details."""

from collections.abc import Mapping, Sequence
from typing import Any

from triaxis.base import query
from triaxis.base.names import is_control
from triaxis.base.query import Files
from triaxis.fit.combinations import FULL
from triaxis.heads.schema import MEASURES
from triaxis.heads.summary import read_heads

# What heads are called without heads/, where only fits/ says something of them.
FITTED = ("r", "adjusted_r2")
# What orders heads, the first that a run has: least first.
ORDERED_BY = ("r_additive", "r")

# What the page calls a measure (docs/method/heads.md), and its unit, if it is no share and no correlation.
LABELS = {
    "r": "r of the three-axis fit",
    "adjusted_r2": "adjusted R² of the fit",
    "distance_adds": "R² that distance adds",
    "query_adds": "R² that the query adds",
    "key_adds": "R² that the key adds",
    "r_additive": "r additive",
    "f_share": "share of f",
    "g_share": "share of g",
    "interaction_share": "share of interaction",
    "rest_r_additive": "r additive, no first token",
    "rest_f_share": "share of f, no first token",
    "rest_g_share": "share of g, no first token",
    "rest_interaction_share": "interaction, no first token",
    "slow_norm_share": "norm in slow pairs",
    "key_constancy": "key constancy",
    "first_key": "attention on first token",
    "sink_share": "queries that sink",
    "previous_token": "attention on previous token",
    "entropy": "entropy of attention, nats",
    "distance_attended": "distance attended, tokens",
    "slash_score": "attention on best diagonal",
    "diagonal_spread": "spread on diagonals, logits",
    "diagonal_trend": "trend on diagonals, logits",
    "duplicate_token": "attention on same token",
    "induction": "attention on what followed it",
    "surgery_loss": "loss if additive, nats/token",
}

OF_FITS = f"""
SELECT model, layer, head, avg(r ORDER BY sequence) AS r, avg(adjusted_r2 ORDER BY sequence) AS adjusted_r2
FROM {query.stage()} WHERE axes = '{FULL}' AND prefix = $length
GROUP BY ALL ORDER BY model, layer, head
"""

Rows = list[dict[str, Any]]


def measured_heads(heads: Files, fits: Files, models: Sequence[str], length: int) -> tuple[list[str], Rows]:
    """The measures that some head has, and each head of `models`, in order: model, layer, head, class, role, and
    `values`, its measures, None where it has none.

    heads: files of heads/; of models that have none, r and adjusted R² of whole sequences, from fits/.
    """
    own = read_heads(heads) if heads else []
    described = {row["model"] for row in own}
    others = query.rows(OF_FITS, files=fits, length=length)
    rows = own + [row for row in others if row["model"] not in described]
    rows = sorted(rows, key=lambda row: (models.index(row["model"]), row["layer"], row["head"]))
    names = [name for name, _ in MEASURES] if own else list(FITTED)
    names = [name for name in names if any(row.get(name) is not None for row in rows)]
    kept = ("model", "layer", "head", "class", "role")
    return names, [
        {name: row.get(name) for name in kept} | {"values": [rounded(row.get(name)) for name in names]} for row in rows
    ]


def with_details(
    names: Sequence[str], rows: Sequence[Mapping[str, Any]], count: int
) -> dict[str, list[tuple[int, int]]]:
    """model -> the heads (layer, head) of it that have details, in order: `count` of all models.

    Models as trained come first, and among these, as among controls, all take turns; each gives its least additive head
    first, or that of the least r.
    """
    by = next((names.index(name) for name in ORDERED_BY if name in names), None)

    def place(row: Mapping[str, Any]) -> tuple[float, int, int]:
        value = None if by is None else row["values"][by]
        return (float("inf") if value is None else value, row["layer"], row["head"])

    models = list(dict.fromkeys(row["model"] for row in rows))
    turns = []
    for number, model in enumerate(models):
        own = sorted((row for row in rows if row["model"] == model), key=place)
        turns += [(is_control(model), turn, number, row) for turn, row in enumerate(own)]
    chosen = [row for *_, row in sorted(turns, key=lambda turn: turn[:3])[:count]]
    return {
        model: sorted((row["layer"], row["head"]) for row in chosen if row["model"] == model)
        for model in models
        if any(row["model"] == model for row in chosen)
    }


def rounded(value: float | None) -> float | None:
    """Four digits, which is what a page can show; None for no number."""
    return None if value is None or value != value else float(f"{value:.4g}")
