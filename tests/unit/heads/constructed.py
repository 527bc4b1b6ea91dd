"""A layer of constructed heads, each of which does one thing, as queries and keys in the stages' own files."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary
from triaxis.base import parquet
from triaxis.fit.combinations import COMBINATIONS
from triaxis.fit.schema import FITS
from triaxis.heads.measure import attention_rows, prompt_rows
from triaxis.heads.schema import HEAD_ATTENTION, PROMPT_SCORES
from triaxis.logits.features import Features
from triaxis.mechanism.heads import batches
from triaxis.mechanism.measure import Mechanism
from triaxis.mechanism.schema import ADDITIVITY, PATTERNS
from triaxis.surgery.schema import SURGERY

PAIRS, WORDS, LENGTH, PERIOD, SEQUENCES = 16, 40, 48, 20, 6
HEADS = ("positional", "semantic", "induction", "previous token", "sink", "mixed")

# Fast pairs and slow ones, and a dimension that does not turn for each word.
ROTARY = Rotary(
    1.0,
    1.0,
    np.arange(PAIRS),
    np.arange(PAIRS, 2 * PAIRS),
    np.pi * (np.arange(PAIRS) + 0.5) / PAIRS,
    np.arange(2 * PAIRS, 2 * PAIRS + WORDS),
)


def layer_of(sequence: int, tokens: NDArray[np.integer]) -> Features:
    """The heads of HEADS on a text, a key head each."""
    words = np.eye(WORDS)[tokens]
    before = np.vstack([np.zeros(WORDS), words[:-1]])
    ones = np.ones((len(tokens), PAIRS))
    taste = np.random.default_rng(0).standard_normal(WORDS)
    slowest = np.arange(PAIRS) == 0
    first = (np.arange(len(tokens)) == 0)[:, None] * np.ones(WORDS)
    none, still = np.zeros((len(tokens), PAIRS)), np.zeros((len(tokens), WORDS))
    # Of each head: the pairs of its queries, as complex numbers, and of its keys; then what does not turn.
    made = {
        # Every key is the same: a smooth function of the distance, and of nothing else.
        "positional": (slowest * ones, ones, still, still),
        # Nothing turns: some words are liked, wherever they stand.
        "semantic": (none, none, still + 2 * taste, words),
        # A key says which word stood before it, a query which word it is.
        "induction": (none, none, 12 * words, before),
        # sum_m cos t_m (d - 1), all keys the same: the largest at distance 1.
        "previous token": (2 * np.exp(-1j * ROTARY.frequency) * ones, ones, still, still),
        "sink": (none, none, still + 1, first),
        # Distance and word in equal parts.
        "mixed": (slowest * ones, ones, still + taste, words),
    }
    query, key = (
        np.stack([_vectors(made[head][pairs], made[head][rest]) for head in HEADS]).astype(np.float32)
        for pairs, rest in ((0, 2), (1, 3))
    )
    return Features(sequence, 0, query, key)


def _vectors(pairs: NDArray, still: NDArray) -> NDArray:
    return np.hstack([pairs.real, pairs.imag, still])


def texts() -> Iterator[Features]:
    for number in range(SEQUENCES):
        yield layer_of(number, np.random.default_rng([1, number]).integers(0, WORDS, LENGTH))


def prompts() -> Iterator[Features]:
    for number in range(SEQUENCES):
        drawn = np.random.default_rng([2, number]).permutation(WORDS)[:PERIOD]
        yield layer_of(number, np.concatenate([drawn, drawn]))


def fit_rows() -> list[dict]:
    """Made up: adjusted R² is 0.9, and without distance, query or key less by 0.1, 0.2 and 0.3."""
    r2 = dict.fromkeys(COMBINATIONS, 0.75) | {"query+key": 0.8, "distance+key": 0.7, "distance+query": 0.6}
    r2["distance+query+key"] = 0.9
    sums = {"count": 4, "total": 4.0, "squares": 104.0}  # a variance of 25, a quarter of it left by the distance
    return [
        {"sequence": sequence, "layer": 0, "head": head, "prefix": LENGTH, "axes": axes, "r": 0.9, "r2": r2[axes]}
        | {"adjusted_r2": r2[axes]}
        | sums
        for sequence, head, axes in product(range(SEQUENCES), range(len(HEADS)), COMBINATIONS)
    ]


def surgery_rows() -> list[dict]:
    """Made up, of two sequences: replacing head h of the layer alone costs h nats, in two of the heads."""
    exact = [{"sequence": n, "variant": "exact", "scope": "all", "loss": 3.0 + n} for n in (0, 1)]
    heads = [
        {"sequence": n, "variant": "f+g", "scope": "head", "layer": 0, "head": head, "loss": 3.0 + n + head}
        for n, head in product((0, 1), (1, 2))
    ]
    return [*exact, *heads]


def write_stages(folder: Path, model: str = "m", surgery: bool = True) -> dict[str, Path]:
    """stage -> its file of these heads."""
    rotaries = {0: ROTARY}
    mechanism = Mechanism(LENGTH, 2)
    measured = [mechanism.tables(heads) for heads in batches(texts(), rotaries)]
    tables = {
        "head_attention": (
            pa.concat_tables([attention_rows(h, LENGTH) for h in batches(texts(), rotaries)]),
            HEAD_ATTENTION,
        ),
        "prompt_scores": (
            pa.concat_tables([prompt_rows(h, PERIOD) for h in batches(prompts(), rotaries)]),
            PROMPT_SCORES,
        ),
        "additivity": (pa.concat_tables([own["additivity"] for own in measured]), ADDITIVITY),
        "patterns": (pa.concat_tables([own["patterns"] for own in measured]), PATTERNS),
        "fits": (pa.Table.from_pylist(fit_rows(), schema=FITS), FITS),
    }
    if surgery:
        tables["surgery"] = (pa.Table.from_pylist(surgery_rows(), schema=SURGERY), SURGERY)
    paths = {}
    for stage, (table, schema) in tables.items():
        paths[stage] = folder / stage / f"model={model}" / "shard-0000.parquet"
        parquet.write_parquet(paths[stage], table, schema, {"model": model})
    return paths
