"""One query's logits over distance and key, as the surface figure shows them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triaxis.attention.rope_file import from_table
from triaxis.base import parquet, query
from triaxis.logits.features_file import read_features
from triaxis.mechanism.additivity import Grid, closed_form
from triaxis.mechanism.complex_form import heads_as_components, turns_at

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Surface:
    """One query's logits on a grid of dummy distances and keys: values (distances, keys), in logits."""

    distances: NDArray[np.integer]
    keys: NDArray[np.integer]
    logits: Array
    additive: Array


def typical_surface(additivity: str, features: str, rope: str, grid: Grid) -> tuple[Surface, str] | None:
    """The logits of the last query of the first sequence, for the head whose r_additive there is the median.

    Returns the surface, its keys sorted by g, and a title that names the head; None if no head has an r_additive.
    """
    rows = query.columns(
        f"SELECT sequence, layer, head, query, r_additive FROM {query.stage()} WHERE r_additive IS NOT NULL "
        "QUALIFY sequence = min(sequence) OVER () AND query = max(query) OVER () ORDER BY r_additive, layer, head",
        files=[additivity],
    )
    if not len(rows["layer"]):
        return None
    place = (len(rows["layer"]) - 1) // 2
    sequence, layer, head, position = (int(rows[name][place]) for name in ("sequence", "layer", "head", "query"))
    rotary = from_table(parquet.read_parquet(rope))[layer]
    own = next(part for part in read_features(features, [layer]) if part.sequence == sequence)
    queries, keys = next((q, k) for number, q, k in heads_as_components(own, rotary) if number == head)
    form = closed_form(keys[grid.keys], keys.mean(0), len(rotary.frequency), turns_at(rotary, grid.distances))
    one = queries[[position]]
    g = form.g(one)[0]
    order = np.argsort(g, kind="stable")
    additive = form.f(one)[0][:, None] + g[order]
    surface = Surface(grid.distances, grid.keys[order], form.logits(one)[0][:, order], additive)
    r = float(rows["r_additive"][place])
    return surface, f"layer {layer} head {head}, query {position}: r_additive = {r:.3f}, the median head"
