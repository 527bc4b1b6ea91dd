"""The data sets of the page, from a run's stages."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triaxis.attention import rope_file
from triaxis.base import parquet
from triaxis.base.query import Files
from triaxis.base.stats import LEAST
from triaxis.base.version import VERSION
from triaxis.explorer import curves
from triaxis.explorer.details import details
from triaxis.explorer.heads import LABELS, measured_heads, with_details
from triaxis.fit.combinations import AXES
from triaxis.logits.features_file import read_features

# What the page draws from, each of which a click filters.
DATA = ("heads", "ranges", "details", "curves", "spectra")


@dataclass(frozen=True)
class Stages:
    """The files of one model that the page is made of; those of stages that a run does not make are none.

    sequences, features, rope: the first shard's. features, rope: none of a model captured at the softmax.
    """

    sequences: Files
    fits: Files
    components: Files
    heads: Files
    patterns: Files
    features: Files
    rope: Files


def rows_of(models: Mapping[str, Stages], length: int, explorer: Mapping[str, int]) -> dict[str, Any]:
    """What the page shows, by name: the rows of DATA; `measures`, their names; `first`, the head that it opens with.

    `heads` has every head with its measures, `ranges` their least and greatest values; `details`, `curves` and
    `spectra` are of the heads that have them. models: in order; explorer: its section of the configuration.
    """
    every = [file for own in models.values() for file in own.heads]
    fits = [file for own in models.values() for file in own.fits]
    measures, heads = measured_heads(every, fits, list(models), length)
    made: dict[str, list[dict[str, Any]]] = {"details": [], "curves": [], "spectra": []}
    chosen = with_details(measures, heads, explorer["heads"])
    for model, own in chosen.items():
        for name, rows in _of_model(models[model], own, length, explorer).items():
            made[name] += [{"model": model} | row for row in rows]
    revisions = {model: _short(parquet.read_metadata(own.fits[0])["revision"]) for model, own in models.items()}
    within = {(model, *head) for model, own in chosen.items() for head in own}
    pictured = {_place(row) for row in made["details"]}
    for row in heads:
        row |= _told(row, revisions[row["model"]], _place(row) in within, _place(row) in pictured)
    first = next(iter(chosen))
    return made | {
        "measures": measures,
        "heads": heads,
        "ranges": [_range(number, name, heads) for number, name in enumerate(measures)],
        "first": {"model": first, "layer": chosen[first][0][0], "head": chosen[first][0][1]},
    }


def notes(data: Mapping[str, Any], explorer: Mapping[str, int]) -> list[str]:
    """What stands under the page's title: how to use it, what it shows, and what was left out."""
    heads, shown, tokens = len(data["heads"]), len(data["curves"]) // len(AXES), explorer["tokens"]
    models = len({row["model"] for row in data["heads"]})
    side = -(-tokens // explorer["pixels"])
    pixel = "a pixel is a cell" if side == 1 else f"a pixel is the mean of {side} by {side} cells"
    told = [
        f"{heads} heads of {models} models: click on one. Components are means over sequences; the band holds the "
        f"middle four fifths of the sequences, where there are at least {LEAST}.",
        f"Pictures and texts are of the first {tokens} tokens of the first sequence: queries downwards, keys to the "
        f"right; {pixel}.",
    ]
    if shown < heads:
        told.append(
            f"Left out: curves, pictures and texts of {heads - shown} heads, more than explorer.heads, {shown}; "
            "models as trained come first, and of each its least additive heads."
        )
    if not data["spectra"]:
        told.append("Left out: spectra, since the mechanism was not measured (experiments).")
    if not any(row["class"] for row in data["heads"]):
        told.append("Left out: classes and most measures, since heads were not measured (experiments).")
    return told


def _place(row: Mapping[str, Any]) -> tuple[str, int, int]:
    return row["model"], row["layer"], row["head"]


def _of_model(
    own: Stages, heads: Sequence[tuple[int, int]], length: int, explorer: Mapping[str, int]
) -> dict[str, list[dict[str, Any]]]:
    """The rows of details, curves and spectra of some heads of a model."""
    made = {"curves": curves.component_curves(own.components, heads, length)}
    made |= {"spectra": curves.spectra(own.patterns, heads)} if own.patterns else {}
    if not own.features:
        return made
    table = parquet.read_parquet(own.sequences[0], ["sequence", "texts"])
    components = curves.components_of(own.components, heads, length, table["sequence"][0].as_py())
    rotaries = rope_file.from_table(parquet.read_parquet(own.rope[0]))
    layers = read_features(own.features[0], sorted({layer for layer, _ in components}), first_alone=True)
    texts, sizes = table["texts"][0].as_py(), (explorer["tokens"], explorer["pixels"])
    return made | {"details": list(details(layers, rotaries, components, texts, *sizes))}


def _told(row: Mapping[str, Any], revision: str, chosen: bool, pictured: bool) -> dict[str, str]:
    """What the page says above a head: its name, how to cite it, and what it is or lacks."""
    place = f"layer {row['layer']}, head {row['head']}"
    told = [f"{kind}: {row[kind].replace('_', ' ')}" for kind in ("class", "role") if row[kind]]
    if not chosen:
        told.append("measures alone: explorer.heads says how many heads have curves, pictures and texts")
    elif not pictured:
        told.append("without pictures and texts: no queries and keys before rotation, or no fit, of this head")
    return {
        "named": f"{row['model']}, {place}",
        "cited": f"To cite: Triaxis {VERSION}, {row['model']} ({revision}), {place}, results/explorer.html",
        "noted": "; ".join(told),
    }


def _short(revision: str) -> str:
    """A revision with its digests cut to twelve digits, which tell it apart."""
    return re.sub(r"([0-9a-f]{12})[0-9a-f]{20,}", r"\1", revision)


def _range(number: int, name: str, heads: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The least and the greatest value of a measure, of all models."""
    values = [row["values"][number] for row in heads if row["values"][number] is not None]
    return {"measure": number, "label": LABELS[name], "low": min(values), "high": max(values)}
