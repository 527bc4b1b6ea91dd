"""Names of models, taken apart in one place.

| name | what it is |
|---|---|
| NAME | a model of the configuration |
| NAME.step512 | one of its checkpoints, where it is a series: a model like any other |
| NAME.seed1.step512 | the same, where the series is trained with several seeds |
| NAME-random | its architecture with fresh random weights, its control; a series has one for all its checkpoints |
"""

import re

RANDOM = "-random"
# What ends a name that is given here; no model of the configuration may have such an end.
ENDS = rf"({RANDOM}|\.(step|seed)[0-9]+)$"

CHECKPOINT = re.compile(r"(?P<series>(?P<entry>.+?)(\.seed[0-9]+)?)\.step(?P<step>[0-9]+)")


def control_of(model: str) -> str:
    """The name of the random-weights control of a model, or of a checkpoint's series; no model's for a control."""
    return (model if is_control(model) else entry_of(model)) + RANDOM


def is_control(model: str) -> bool:
    """Whether a model is a random-weights control."""
    return model.endswith(RANDOM)


def entry_of(model: str) -> str:
    """The name under which the configuration has a model, a checkpoint or a control."""
    found = CHECKPOINT.fullmatch(model)
    return found["entry"] if found else model.removesuffix(RANDOM)


def series_of(model: str) -> str | None:
    """The series that a model is a checkpoint of: NAME, or NAME.seedS; None for a model of no series."""
    found = CHECKPOINT.fullmatch(model)
    return found["series"] if found else None


def step_of(model: str) -> int | None:
    """How many training steps a checkpoint has behind it; None for a model of no series."""
    found = CHECKPOINT.fullmatch(model)
    return int(found["step"]) if found else None


def checkpoint_of(series: str, step: int) -> str:
    """The name of one checkpoint of a series."""
    return f"{series}.step{step}"


def of_seed(entry: str, seed: int) -> str:
    """The name of the series that one of several seeds makes."""
    return f"{entry}.seed{seed}"


def weights_of(model: str) -> str:
    """What the tables say of a model's weights: trained, random, or initial, those of step 0 of a series."""
    return "random" if is_control(model) else "initial" if step_of(model) == 0 else "trained"
