"""What a head is called: its class by what moves its logits, and its role by what it looks at.

Each by a stated share, and only where the interval lies on one side of it. docs/method/heads.md, "Class and role".
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POSITIONAL, SEMANTIC, MIXED, SINK, UNDECIDED = "positional", "semantic", "mixed", "sink", "undecided"
CLASSES = (POSITIONAL, SEMANTIC, MIXED, SINK, UNDECIDED)
# Each is a measure too: attention on one token.
ROLES = ("previous_token", "duplicate_token", "induction")


@dataclass(frozen=True)
class Thresholds:
    """variance: of the logits, what f, or g, holds of a positional, or a semantic, head. queries: those that look at
    the first key in a sink. attention: on one token, what a role takes."""

    variance: float = 0.6
    queries: float = 0.5
    attention: float = 0.3


# What heads are called by, and each threshold moved by five points.
MOVES = {
    "none": Thresholds(),
    "variance -0.05": Thresholds(variance=0.55),
    "variance +0.05": Thresholds(variance=0.65),
    "queries -0.05": Thresholds(queries=0.45),
    "queries +0.05": Thresholds(queries=0.55),
    "attention -0.05": Thresholds(attention=0.25),
    "attention +0.05": Thresholds(attention=0.35),
}


def classes_of(heads: Mapping[str, Array], than: Thresholds = MOVES["none"]) -> NDArray[np.str_]:
    """(heads,): one of CLASSES each, from the ends of the intervals, NAME_low and NAME_high (heads,), of sink_share,
    rest_f_share and rest_g_share. An end that is NaN decides nothing."""

    def above(name: str, least: float) -> NDArray[np.bool_]:
        return heads[f"{name}_low"] > least

    def below(name: str, most: float) -> NDArray[np.bool_]:
        return heads[f"{name}_high"] < most

    f, g = "rest_f_share", "rest_g_share"
    other = below("sink_share", than.queries)
    return np.select(
        [
            above("sink_share", than.queries),
            other & above(f, than.variance),
            other & above(g, than.variance),
            other & below(f, than.variance) & below(g, than.variance),
        ],
        [SINK, POSITIONAL, SEMANTIC, MIXED],
        UNDECIDED,
    )


def roles_of(heads: Mapping[str, Array], than: Thresholds = MOVES["none"]) -> list[str | None]:
    """(heads,): of ROLES, the one of the most attention among those whose interval, NAME_low, lies above the threshold;
    None for none."""
    scores = np.stack([np.where(heads[f"{role}_low"] > than.attention, heads[role], -np.inf) for role in ROLES])
    best = scores.argmax(0)
    return [ROLES[role] if np.isfinite(scores[role, head]) else None for head, role in enumerate(best.tolist())]
