"""The mechanism's stages: queries and keys in, rows out, in time and memory linear in the length of the sequences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from triaxis.attention.rope import Rotary, turns_over
from triaxis.fit.axes import Design
from triaxis.mechanism.additivity import Grid, Varying, additivity_of, contributions_of, grid_of, scramble, varying
from triaxis.mechanism.complex_form import evenly
from triaxis.mechanism.components import turns_at
from triaxis.mechanism.dummy_distance import Dummies, refit, true_components
from triaxis.mechanism.heads import Heads
from triaxis.mechanism.layers import rows_of
from triaxis.mechanism.names import OWN, SCRAMBLED
from triaxis.mechanism.patterns import Shape, norm_share, shapes_of
from triaxis.mechanism.schema import ADDITIVITY, DUMMIES, PATTERNS

Tensor = torch.Tensor

SCHEMAS = {"additivity": ADDITIVITY, "dummies": DUMMIES, "patterns": PATTERNS}

# Of the scrambled phases, beside the numbers of sequence, layer and key head.
SEED = 0


class Mechanism:
    """What is measured on sequences of one length."""

    def __init__(self, length: int, dummies: int, prefixes: Sequence[int] = ()) -> None:
        """dummies: how many dummy distances. prefixes: the first so many tokens are measured as well, where they are
        fewer than `length`."""
        self.length = length
        self.distances = torch.from_numpy(evenly(length, dummies))
        self.prefixes = [prefix for prefix in prefixes if prefix < length]
        self.design = Design(length)
        self._turns: dict[bytes, tuple[Tensor, dict[int, Varying]]] = {}

    @torch.inference_mode()
    def tables(self, heads: Heads) -> dict[str, pa.Table]:
        """Stage -> the rows of these heads."""
        turn, turns = self._turns_of(heads.rotary)
        grids = [grid_of(heads.key[:, first:], turns[self.length]) for first in (0, 1)]
        rotated_query, rotated_key = heads.query * turn, heads.key * turn
        true = true_components(rotated_query, rotated_key, self.design)
        dummies = refit(heads.query, heads.key, turn[self.distances], self.distances, true, self.design)
        queries = shapes_of(heads.query[..., : heads.pairs], heads.query_size[..., : heads.pairs])
        keys = shapes_of(heads.key[..., : heads.pairs], heads.key_size[..., : heads.pairs])
        patterns = [pattern_rows(heads, first, queries[first], keys[first], grids[first]) for first in (0, 1)]
        return {
            "additivity": self._additivity(heads, grids, turns),
            "dummies": dummy_rows(heads, self.distances, dummies),
            "patterns": pa.concat_tables(patterns),
        }

    def _turns_of(self, rotary: Rotary) -> tuple[Tensor, dict[int, Varying]]:
        """exp(1j t_m d) of all distances (length, components), and what varies over those of each prefix."""
        key = rotary.frequency.tobytes() + bytes(len(rotary.unrotated))
        if key not in self._turns:
            turn = turns_at(rotary, torch.arange(self.length))
            self._turns[key] = turn, {n: varying(turn[:n]) for n in (*self.prefixes, self.length)}
        return self._turns[key]

    def _additivity(self, heads: Heads, grids: Sequence[Grid], turns: Mapping[int, Varying]) -> pa.Table:
        """With the first token, without it, with scrambled phases, and of each prefix."""
        served = zip(*(numbers[:: heads.group] for numbers in (heads.sequence, heads.layer, heads.head)), strict=True)
        seeds = [(SEED, int(sequence), int(layer), int(head) // heads.group) for sequence, layer, head in served]
        null = [scramble(key, heads.pairs, seed) for key, seed in zip(heads.key, seeds, strict=True)]
        scrambled = grid_of(torch.stack(null), turns[self.length])
        tables = [
            additivity_rows(heads, self.length, 0, OWN, grids[0]),
            additivity_rows(heads, self.length, 1, OWN, grids[1]),
            additivity_rows(heads, self.length, 0, SCRAMBLED, scrambled),
        ]
        for prefix in self.prefixes:
            tables.append(additivity_rows(heads, prefix, 0, OWN, grid_of(heads.key[:, :prefix], turns[prefix])))
        return pa.concat_tables(tables)


def rows(heads: Heads, schema: pa.Schema, values: Mapping[str, Tensor], **others: Any) -> pa.Table:
    """values: (heads, n), of n rows a head, NaN for null; others: (n,) of each head, one value, or None for null."""
    each = next(iter(values.values())).shape[1]
    numbers = {name: np.repeat(getattr(heads, name), each) for name in ("sequence", "layer", "head")}
    flat = {name: value.reshape(-1).numpy() for name, value in values.items()}
    along = {
        name: np.tile(value, len(heads.head)) if isinstance(value, np.ndarray) else value
        for name, value in others.items()
    }
    return rows_of({**numbers, **flat, **along}, schema)


def additivity_rows(heads: Heads, prefix: int, first: int, phases: str, grid: Grid) -> pa.Table:
    """The rows of additivity/ of the queries from position `first` to before `prefix`, which meet `grid`.

    A layer without rotary dimensions (NoPE) does not see distance: its rows have only the variance of g.
    """
    additivity = additivity_of(heads.query[:, :prefix], heads.query_size[:, :prefix], grid)
    values = {name: value[:, first:] for name, value in vars(additivity).items()}
    unseen = {} if heads.pairs else dict.fromkeys([name for name in values if name != "g_variance"])
    place = {"query": np.arange(first, prefix), "prefix": prefix, "first_token": first == 0, "phases": phases}
    return rows(heads, ADDITIVITY, {name: values[name] for name in values if name not in unseen}, **place, **unseen)


def dummy_rows(heads: Heads, distances: Tensor, values: Dummies) -> pa.Table:
    """The rows of dummies/; one row a head, with the mean alone, where nothing turns."""
    if heads.pairs:
        return rows(heads, DUMMIES, vars(values), distance=distances.numpy())
    unseen = dict.fromkeys(("distance", "key_correlation", "component"))
    return rows(heads, DUMMIES, {"mean": values.mean[:, :1]}, **unseen)


def pattern_rows(heads: Heads, first: int, queries: Shape, keys: Shape, grid: Grid) -> pa.Table:
    """The rows of patterns/ of queries and keys from position `first` on: each pair, and all unrotated dimensions
    together, if there are any, without a number."""
    pairs, rest = heads.pairs, [np.nan] if len(heads.rotary.unrotated) else []
    values = {
        "norm_share": norm_share(queries, keys),
        "key_constancy": keys.constancy.repeat_interleave(heads.group, 0),
        "key_concentration": keys.concentration.repeat_interleave(heads.group, 0),
        "query_concentration": queries.concentration,
    }
    values = {name: torch.nn.functional.pad(value, (0, len(rest)), value=torch.nan) for name, value in values.items()}
    for name, given in contributions_of(heads.query[:, first:], grid).items():
        still = given[:, pairs:].sum(-1, keepdim=True)[:, : len(rest)]
        values[f"{name}_variance"] = torch.cat([given[:, :pairs], still], dim=1)
    turns = turns_over(heads.rotary, heads.length)
    constant = {"pair": np.arange(pairs), "frequency": heads.rotary.frequency, "turns": turns}
    along = {name: np.append(value, rest) for name, value in constant.items()}
    return rows(heads, PATTERNS, values, first_token=first == 0, **along)
