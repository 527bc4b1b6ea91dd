"""One query's logits over distance and key, as the surface figure shows them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triaxis.attention.rope_file import from_table
from triaxis.base import parquet, query
from triaxis.logits.features_file import read_features
from triaxis.mechanism.closed_form import closed_form
from triaxis.mechanism.complex_form import evenly, heads_as_components, turns_at
from triaxis.mechanism.names import OWN

Array = NDArray[np.floating]

# Keys and distances that are shown, at most.
SHOWN = 128


@dataclass(frozen=True)
class Surface:
    """One query's logits on a grid of dummy distances and keys: values (distances, keys), in logits."""

    distances: NDArray[np.integer]
    keys: NDArray[np.integer]
    logits: Array
    additive: Array


def typical_surface(additivity: str, features: str, rope: str, length: int) -> tuple[Surface, str] | None:
    """The logits of the last query of the first sequence, of `length` tokens, for the head whose r_additive there is
    the median, at some of the keys and distances.

    Returns the surface, its keys sorted by g, and a title that names the head; None if no head has an r_additive.
    """
    rows = query.columns(
        f"SELECT sequence, layer, head, query, r_additive FROM {query.stage()} WHERE r_additive IS NOT NULL "
        f"AND prefix = $length AND first_token AND phases = '{OWN}' AND query = $length - 1 "
        "QUALIFY sequence = min(sequence) OVER () ORDER BY r_additive, layer, head",
        files=[additivity],
        length=length,
    )
    if not len(rows["layer"]):
        return None
    place = (len(rows["layer"]) - 1) // 2
    sequence, layer, head, position = (int(rows[name][place]) for name in ("sequence", "layer", "head", "query"))
    rotary = from_table(parquet.read_parquet(rope))[layer]
    own = next(part for part in read_features(features, [layer]) if part.sequence == sequence)
    queries, keys = next((q, k) for number, q, k in heads_as_components(own, rotary) if number == head)
    shown = evenly(length, SHOWN)
    turn = turns_at(rotary, np.arange(length))
    form = closed_form(keys[shown], turn[shown], len(rotary.frequency), keys.mean(0), turn.mean(0))
    one = queries[[position]]
    g = form.g(one)[0]
    order = np.argsort(g, kind="stable")
    additive = form.f(one)[0][:, None] + g[order]
    surface = Surface(shown, shown[order], form.logits(one)[0][:, order], additive)
    r = float(rows["r_additive"][place])
    return surface, f"layer {layer} head {head}, query {position}: r_additive = {r:.3f}, the median head"
