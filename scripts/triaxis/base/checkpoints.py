"""The models that a configuration measures: those that it names, the checkpoints of its series, and controls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triaxis.base.names import checkpoint_of, control_of, of_seed

STEP = "{step}"  # what a step's number replaces in the source of a series
TRAIN = "train:"  # the source of a model that the pipeline trains


@dataclass(frozen=True)
class Measured:
    """A measured model: whose weights, tokenizer and tokens it has, and the seed of its weights if these are random."""

    base: str
    random_seed: int | None


def series_in(name: str, entry: Mapping[str, Any]) -> dict[str, int | None]:
    """series -> the seed that it is trained with, None for one that is not trained here; of an entry with steps."""
    if entry["seeds"] is None:
        return {name: 0 if entry["source"] == TRAIN else None}
    return {of_seed(name, seed): seed for seed in entry["seeds"]}


def source_at(source: Any, step: int) -> Any:
    """The source of one step of a series."""
    return source.replace(STEP, str(step))


def with_weights(models: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """name -> entry of every model that has weights of its own: a series is one model a step, its source that step's.

    models: the section of the configuration, defaults filled in.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, entry in models.items():
        if entry["steps"] is None:
            found[name] = dict(entry)
            continue
        for series in series_in(name, entry):
            for step in sorted(entry["steps"]):
                source = f"{TRAIN}{checkpoint_of(series, step)}"
                if entry["source"] != TRAIN:
                    source = source_at(entry["source"], step)
                found[checkpoint_of(series, step)] = dict(entry) | {"source": source}
    return found


def measured_models(models: Mapping[str, Mapping[str, Any]]) -> dict[str, Measured]:
    """Every measured model by name, a control right after what it is the control of.

    The control of a series has the architecture and the tokenizer of its first checkpoint.
    """
    found: dict[str, Measured] = {}
    for name, entry in models.items():
        own = list(with_weights({name: entry}))
        found |= {base: Measured(base, None) for base in own}
        if entry["random_control"]:
            found[control_of(name)] = Measured(own[0], entry["random_seed"])
    return found
