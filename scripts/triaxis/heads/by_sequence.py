"""What the stages say of each head in each sequence: the values whose means over sequences are the rows of heads/."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from triaxis.base import query
from triaxis.base.query import Columns, Files
from triaxis.fit.combinations import FULL
from triaxis.mechanism.names import OWN
from triaxis.mechanism.summary import SLOW

Array = NDArray[np.float64]

# A row a (sequence, layer, head). adds: what adjusted R² loses without that axis. The spread about the means of
# sub-diagonals is what the fit of the distance alone leaves. A constant matrix has nulls.
FITTED = f"""
WITH own AS (
    SELECT sequence, layer, head, first(r) FILTER (axes = '{FULL}') AS r,
           first(adjusted_r2) FILTER (axes = '{FULL}') AS adjusted_r2,
           first(adjusted_r2) FILTER (axes = 'query+key') AS without_distance,
           first(adjusted_r2) FILTER (axes = 'distance+key') AS without_query,
           first(adjusted_r2) FILTER (axes = 'distance+query') AS without_key,
           first((1 - r2) * (squares - total * total / count) / count) FILTER (axes = 'distance') AS left_over
    FROM {query.stage()} WHERE prefix = $length GROUP BY sequence, layer, head
)
SELECT sequence, layer, head, r, adjusted_r2, adjusted_r2 - without_distance AS distance_adds,
       adjusted_r2 - without_query AS query_adds, adjusted_r2 - without_key AS key_adds,
       sqrt(left_over) AS diagonal_spread
FROM own
"""

# Shares of variances that are summed over queries; rows are added up in the order of the files, by one thread.
ADDITIVE = f"""
WITH own AS (
    SELECT sequence, layer, head, first_token, avg(r_additive) AS r_additive, sum(f_variance) AS f,
           sum(g_variance) AS g, sum(interaction_variance) AS interaction
    FROM {query.stage()} WHERE prefix = $length AND phases = '{OWN}'
    GROUP BY sequence, layer, head, first_token
)
SELECT sequence, layer, head, {
    ", ".join(
        f"max({value}) FILTER ({which}) AS {prefix}{name}"
        for prefix, which in (("", "first_token"), ("rest_", "NOT first_token"))
        for name, value in {
            "r_additive": "r_additive",
            **{f"{part}_share": f"{part} / nullif(f + g + interaction, 0)" for part in ("f", "g", "interaction")},
        }.items()
    )
}
FROM own GROUP BY sequence, layer, head
"""

# slow: what of a head's pairs count as slow; key constancy as the norm weighs the pairs.
NORMS = f"""
WITH ranked AS (
    SELECT *, row_number() OVER slowest AS rank, count(*) OVER matrix AS pairs
    FROM {query.stage()} WHERE first_token AND pair IS NOT NULL
    WINDOW slowest AS (PARTITION BY sequence, layer, head ORDER BY abs(frequency), pair),
           matrix AS (PARTITION BY sequence, layer, head)
)
SELECT sequence, layer, head,
       sum(norm_share ORDER BY pair) FILTER (rank <= greatest(1, floor(pairs * $slow))) AS slow_norm_share,
       sum(norm_share * key_constancy ORDER BY pair) AS key_constancy
FROM ranked GROUP BY sequence, layer, head
"""

# What additive logits in this head alone add to the loss of the same sequence.
SURGERY = f"""
WITH own AS (FROM {query.stage()}),
exact AS (SELECT sequence, loss FROM own WHERE scope = 'all' AND variant = 'exact')
SELECT own.sequence, layer, head, own.loss - exact.loss AS surgery_loss
FROM own JOIN exact USING (sequence) WHERE scope = 'head' AND variant = $variant
"""

PLAIN = f"SELECT * FROM {query.stage()}"

# What of a frame is no measure.
INDEX = ("sequence", "layer", "head", "model", "series", "step")


def values_of(attention: Files, fits: Files, additivity: Files, patterns: Files, length: int) -> dict[str, Columns]:
    """Stage -> its values of one model, a row a (sequence, layer, head), as `matrices` takes them; length: of whole
    sequences."""
    return {
        "attention": query.columns(PLAIN, files=attention),
        "fits": query.columns(FITTED, files=fits, length=length),
        "additivity": query.columns(ADDITIVE, files=additivity, length=length),
        "patterns": query.columns(NORMS, files=patterns, slow=SLOW),
    }


def scores_of(scores: Files) -> Columns:
    """The values of prompt_scores/, a row a (prompt, layer, head)."""
    return query.columns(PLAIN, files=scores)


def surgery_of(surgery: Files, variant: str) -> Columns:
    """surgery_loss of one variant, from surgery/, a row a (sequence, layer, head); of the heads that were replaced."""
    return query.columns(SURGERY, files=surgery, variant=variant)


def heads_in(frame: Columns) -> list[tuple[int, int]]:
    """The heads of a frame as (layer, head), in order."""
    return sorted(set(zip(frame["layer"].tolist(), frame["head"].tolist(), strict=True)))


def matrices(frame: Columns, heads: Sequence[tuple[int, int]]) -> dict[str, Array]:
    """Rows of (sequence, layer, head) -> measure -> (sequences, heads); NaN where there is no row."""
    sequences, row = np.unique(frame["sequence"], return_inverse=True)
    place = {head: number for number, head in enumerate(heads)}
    keys = zip(frame["layer"].tolist(), frame["head"].tolist(), strict=True)
    column = np.array([place[int(layer), int(head)] for layer, head in keys], dtype=int)
    found = {}
    for name in [name for name in frame if name not in INDEX]:
        found[name] = np.full((len(sequences), len(heads)), np.nan)
        found[name][row, column] = frame[name].astype(float)
    return found
