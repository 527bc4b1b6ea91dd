"""The curves of some heads: components over sequences, and what each frequency gives to f, g and the interaction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triaxis.base import query
from triaxis.base.query import Files
from triaxis.base.stats import LEAST
from triaxis.explorer.heads import rounded
from triaxis.fit.combinations import AXES
from triaxis.mechanism.complex_form import evenly

# At most so many points of a curve.
POINTS = 64
PARTS = ("f", "g", "interaction")

OF_HEADS = "list_contains($heads, layer || '/' || head)"
COMPONENTS = f"""
SELECT layer, head, axis, index, avg(value ORDER BY sequence) AS mean, quantile_cont(value, 0.1) AS low,
       quantile_cont(value, 0.9) AS high, count(*) AS sequences
FROM {query.stage()} WHERE {OF_HEADS}
     AND list_contains(if(axis = 'distance', $distances::INTEGER[], $positions::INTEGER[]), index)
GROUP BY layer, head, axis, index ORDER BY layer, head, axis, index
"""
ONE_SEQUENCE = f"""
SELECT layer, head, axis, index, value FROM {query.stage()} WHERE {OF_HEADS} AND sequence = $sequence
"""
PAIRS = f"""
SELECT layer, head, pair, avg(turns) AS turns, {
    ", ".join(f"avg({part}_variance ORDER BY sequence) AS {part}" for part in PARTS)
}
FROM {query.stage()} WHERE {OF_HEADS} AND first_token
GROUP BY layer, head, pair ORDER BY layer, head, turns, pair
"""

Head = tuple[int, int]
Array = NDArray[np.float64]


def shown_distances(length: int) -> list[int]:
    """At most POINTS distances from 0 to length - 1, near ones closer together, as the figures' logarithmic axes."""
    return sorted({round(distance) - 1 for distance in np.geomspace(1, length, POINTS)})


def component_curves(components: Files, heads: Sequence[Head], length: int) -> list[dict[str, Any]]:
    """A row a (head, axis): layer, head, axis, and lists: index, mean over sequences, and low and high, between which
    the middle four fifths of the sequences lie; without a band (None) for fewer than LEAST sequences."""
    chosen = {"distances": shown_distances(length), "positions": evenly(length, POINTS).tolist()}
    rows = query.rows(COMPONENTS, files=components, heads=_named(heads), **chosen)
    found: dict[tuple[int, int, str], dict[str, Any]] = {}
    for row in rows:
        own = found.setdefault(
            (row["layer"], row["head"], row["axis"]),
            {name: row[name] for name in ("layer", "head", "axis")}
            | {name: [] for name in ("index", "mean", "low", "high")},
        )
        own["index"].append(row["index"])
        for name in ("mean", "low", "high"):
            known = name == "mean" or row["sequences"] >= LEAST
            own[name].append(rounded(row[name]) if known else None)
    return list(found.values())


def components_of(components: Files, heads: Sequence[Head], length: int, sequence: int) -> dict[Head, Array]:
    """Head -> its components (3, length) in one sequence, in the order of AXES; of the heads that were fitted."""
    rows = query.columns(ONE_SEQUENCE, files=components, heads=_named(heads), sequence=sequence)
    fitted = set(zip(rows["layer"].tolist(), rows["head"].tolist(), strict=True))
    place = {head: number for number, head in enumerate(own for own in heads if own in fitted)}
    values = np.zeros((len(place), len(AXES), length))
    keys = zip(rows["layer"].tolist(), rows["head"].tolist(), strict=True)
    number = np.array([place[key] for key in keys], dtype=int)
    axis = np.array([AXES.index(name) for name in rows["axis"]], dtype=int)
    values[number, axis, rows["index"]] = rows["value"]
    return dict(zip(place, values, strict=True))


def spectra(patterns: Files, heads: Sequence[Head]) -> list[dict[str, Any]]:
    """A row a head: layer, head, and lists by rotary pair, slowest first: its turns over a sequence, and the shares of
    f, g and interaction in the variance of the head's logits, over sequences; and `still`, the share of what does not
    turn."""
    rows = query.rows(PAIRS, files=patterns, heads=_named(heads))
    found = []
    for layer, head in heads:
        own = [row for row in rows if (row["layer"], row["head"]) == (layer, head)]
        total = sum(row[part] for row in own for part in PARTS)
        turning = [row for row in own if row["pair"] is not None and row["turns"]]
        curves = {part: [rounded(row[part] / total) if total else None for row in turning] for part in PARTS}
        held = sum(row[part] for row in turning for part in PARTS)
        found.append(
            {"layer": layer, "head": head, "turns": [rounded(row["turns"]) for row in turning]}
            | curves
            | {"still": rounded(1 - held / total) if total else None}
        )
    return found


def _named(heads: Sequence[Head]) -> list[str]:
    return [f"{layer}/{head}" for layer, head in heads]
