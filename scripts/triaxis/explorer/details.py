"""What the page shows of one head in one sequence: pictures of its logits, and the texts behind its cells."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary
from triaxis.explorer.heads import rounded
from triaxis.explorer.pictures import DIVERGING, RISING, blocks, picture
from triaxis.logits.features import Features
from triaxis.logits.logits import logits

Array = NDArray[np.floating]
Head = tuple[int, int]

# Rows of a head: the cells that the fit misses most, the queries whose keys are told, and keys of each, at either end.
CELLS, QUERIES, KEYS = 20, 3, 5
# Characters on either side of a token.
AROUND = 12


def details(
    layers: Iterable[Features],
    rotaries: Mapping[int, Rotary],
    components: Mapping[Head, Array],
    texts: Sequence[str],
    tokens: int,
    pixels: int,
) -> Iterator[dict[str, Any]]:
    """A row a head of `components`: layer, head, and what `shown`, `missed` and `attended` give, of the first `tokens`
    tokens of a sequence.

    layers: the features of that sequence; components: (3, length) by head, of its fit; texts: of its tokens.
    """
    told = [in_context(texts, place) for place in range(tokens)]
    for own in layers:
        heads = [head for layer, head in components if layer == own.layer]
        if heads:
            matrices = logits(own.query[:, :tokens], own.key[:, :tokens], rotaries[own.layer])
            for head in heads:
                yield {"layer": own.layer, "head": head} | of_head(
                    matrices[head].astype(float), components[own.layer, head], told, pixels
                )


def of_head(matrix: Array, components: Array, told: Sequence[str], pixels: int) -> dict[str, Any]:
    """What a head shows; matrix: (tokens, tokens) logits, those above the diagonal of any value."""
    later = np.triu(np.ones(matrix.shape, dtype=bool), 1)
    exact = np.where(later, np.nan, matrix)
    fit = np.where(later, np.nan, fitted(components, len(matrix)))
    return shown(exact, fit, pixels) | {
        "cells": missed(exact, exact - fit, told),
        "keys": attended(exact, told),
    }


def fitted(components: Array, tokens: int) -> Array:
    """a_(i-j) + b_i + c_j of the first tokens; cells above the diagonal have values of no meaning."""
    distance, query, key = components[:, :tokens]
    position = np.arange(tokens)
    return distance[np.abs(position[:, None] - position)] + query[:, None] + key


def shown(exact: Array, fit: Array, pixels: int) -> dict[str, Any]:
    """Pictures of logits, fit and residual, the first two on one scale, `low` to `high`, the last from minus `bound` to
    `bound`: scales leave the outermost hundredth of the pixels out."""
    pooled, smooth = blocks(exact, pixels), blocks(fit, pixels)
    rest = pooled - smooth
    low, high = np.nanpercentile(pooled, [0.5, 99.5])
    bound = np.nanpercentile(np.abs(rest), 99)
    return {
        "logits": picture(pooled, low, high, RISING),
        "fit": picture(smooth, low, high, RISING),
        "residual": picture(rest, -bound, bound, DIVERGING),
        **{name: rounded(float(value)) for name, value in (("low", low), ("high", high), ("bound", bound))},
    }


def missed(exact: Array, residual: Array, told: Sequence[str]) -> dict[str, list]:
    """The cells of the largest residual, largest first, with the texts of their query and key."""
    size = np.nan_to_num(np.abs(residual), nan=-1).ravel()
    most = np.argpartition(-size, CELLS)[:CELLS] if len(size) > CELLS else np.arange(len(size))
    places = most[np.lexsort((most, -size[most]))]
    cells = [divmod(int(place), len(exact)) for place in places if size[place] >= 0]
    return {
        "residual": [rounded(float(residual[cell])) for cell in cells],
        "logit": [rounded(float(exact[cell])) for cell in cells],
        "query": [f"{query}  {told[query]}" for query, _ in cells],
        "key": [f"{key}  {told[key]}" for _, key in cells],
    }


def attended(exact: Array, told: Sequence[str]) -> dict[str, list]:
    """The keys that some queries, evenly spaced, attend to most and least, a row a place in either order; `query` is
    told in the first. Attention is the softmax of the logits over the keys up to the query."""
    found: dict[str, list] = {name: [] for name in ("query", "most", "most_attention", "least", "least_attention")}
    for query in dict.fromkeys(len(exact) * part // QUERIES - 1 for part in range(1, QUERIES + 1)):
        own = exact[query, : query + 1]
        attention = np.exp(own - own.max())
        attention /= attention.sum()
        order = np.argsort(-attention, kind="stable")[:KEYS], np.argsort(attention, kind="stable")[:KEYS]
        for place, (most, least) in enumerate(zip(*order, strict=True)):
            found["query"].append(f"{query}  {told[query]}" if place == 0 else "")
            for name, key in (("most", most), ("least", least)):
                found[name].append(f"{key}  {told[key]}")
                found[f"{name}_attention"].append(rounded(float(attention[key])))
    return found


def in_context(texts: Sequence[str], place: int) -> str:
    """A token in angle marks between the characters around it, in one line."""
    before, after = "".join(texts[max(0, place - AROUND) : place]), "".join(texts[place + 1 : place + 1 + AROUND])
    text = f"{before[-AROUND:]}‹{texts[place]}›{after[:AROUND]}"
    return text.replace("\r", "").replace("\n", "⏎").replace("\t", "⇥")
