"""The rows of heads/ and the tables of heads, and what figures take from them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from triaxis.base import query, tables
from triaxis.base.query import Columns, Files
from triaxis.heads.by_sequence import heads_in, matrices
from triaxis.heads.classes import CLASSES, MOVES, ROLES, classes_of, roles_of
from triaxis.heads.intervals import means
from triaxis.heads.relations import related
from triaxis.heads.schema import HEADS, MEASURES

# How many heads the table of the least additive ones has of each model.
LEAST_ADDITIVE = 10

# What is held against what over heads.
SHARES = ("interaction_share", "f_share", "g_share")
AGAINST = (*ROLES, "layer", "surgery_loss")


def describe(
    values: Mapping[str, Columns], scores: Columns, surgery: Columns | None, samples: int, seed: int
) -> pa.Table:
    """The rows of heads/ of one model.

    values: from `by_sequence.values_of`; scores: of its prompts; surgery: None if it was not run.
    """
    heads = heads_in(values["attention"])
    found = {name: own for frame in values.values() for name, own in matrices(frame, heads).items()}
    distances = found.pop("slash_distance")
    found |= matrices(scores, heads)
    found |= {"surgery_loss": np.full((0, len(heads)), np.nan)} if surgery is None else matrices(surgery, heads)
    columns: dict[str, Any] = {}
    for name, _ in MEASURES:
        ends = ("", "_low", "_high")
        columns |= {f"{name}{end}": own for end, own in zip(ends, means(found[name], samples, seed), strict=True)}
    columns |= {
        "layer": [layer for layer, _ in heads],
        "head": [head for _, head in heads],
        "sequences": [len(distances)] * len(heads),
        "prompts": [len(found["induction"])] * len(heads),
        "class": classes_of(columns).tolist(),
        "role": roles_of(columns),
        "slash_distance": np.median(distances, axis=0),
    }
    arrays = [pa.array(columns[field.name], field.type, from_pandas=True) for field in HEADS]
    return pa.Table.from_arrays(arrays, schema=HEADS)


def read_heads(files: Files) -> list[dict[str, Any]]:
    """The rows of heads/, of all models by name, in the order of layers and heads; null as None."""
    columns = ", ".join(field.name if field.name != "class" else '"class"' for field in HEADS)
    return query.rows(f"SELECT model, {columns} FROM {query.stage()} ORDER BY model, layer, head", files=files)


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of heads/ as columns of numbers, null as NaN."""
    numbers = ["layer", *(f"{name}{end}" for name, _ in MEASURES for end in ("", "_low", "_high"))]
    return {name: np.array([np.nan if row[name] is None else row[name] for row in rows], float) for name in numbers}


def class_counts(rows: Sequence[Mapping[str, Any]], models: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of heads_classes.csv, one a (model, threshold moved by five points): how many heads there are of each
    class and role, and how many have another class, or role, than with no threshold moved."""
    found = []
    for model in models:
        columns = columns_of([row for row in rows if row["model"] == model])
        usual = classes_of(columns), roles_of(columns)
        for moved, thresholds in MOVES.items():
            classes, roles = classes_of(columns, thresholds), roles_of(columns, thresholds)
            of_class, of_role = Counter(classes.tolist()), Counter(roles)
            found.append(
                {"model": model, "moved": moved, "heads": len(roles)}
                | {name: of_class[name] for name in CLASSES}
                | {name: of_role[name] for name in ROLES}
                | {"changed_class": int((classes != usual[0]).sum())}
                | {"changed_role": sum(new != old for new, old in zip(roles, usual[1], strict=True))}
            )
    return found


def least_additive(rows: Sequence[Mapping[str, Any]], models: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of heads_least_additive.csv: of each model the heads of the least r_additive, least first."""
    shown = ("r_additive", "interaction_share", "f_share", "g_share", "first_key", *ROLES, "surgery_loss")
    names = ["layer", "head", "class", "role", "sequences", "r_additive_low", "r_additive_high", *shown]
    found = []
    for model in models:
        own = [row for row in rows if row["model"] == model and row["r_additive"] is not None]
        own = sorted(own, key=lambda row: (row["r_additive"], row["layer"], row["head"]))[:LEAST_ADDITIVE]
        found += [{"model": model} | {name: row[name] for name in names} for row in own]
    return found


def relations(
    rows: Sequence[Mapping[str, Any]], models: Sequence[str], samples: int, seed: int
) -> list[dict[str, Any]]:
    """The rows of heads_relations.csv, one a (model, share of variance, what it is held against), as
    `relations.related` has them."""
    found = []
    for model in models:
        columns = columns_of([row for row in rows if row["model"] == model])
        left, right = ({name: columns[name] for name in names} for names in (SHARES, AGAINST))
        own = related(left, right, columns["layer"].astype(int), samples, seed)
        found += [
            {"model": model, "share": share, "against": against} | own[share, against]
            for share in SHARES
            for against in AGAINST
        ]
    return found


def heads_of(table: str | Path) -> dict[str, Columns]:
    """model -> its columns of heads.csv."""
    rows = tables.read_columns(table)
    return {model: query.where(rows, model=model) for model in dict.fromkeys(rows["model"].tolist())}
