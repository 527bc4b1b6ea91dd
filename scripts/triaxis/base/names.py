"""Names that several stages share: a model's random-weights control is a model of its own, called NAME-random."""

RANDOM = "-random"


def control_of(model: str) -> str:
    """The name of the random-weights control of a model."""
    return model + RANDOM


def is_control(model: str) -> bool:
    """Whether a model is a random-weights control."""
    return model.endswith(RANDOM)


def base_of(model: str) -> str:
    """The model that a control belongs to; any other model is its own."""
    return model.removesuffix(RANDOM)


def weights_of(model: str) -> str:
    """What the tables say of a model's weights: trained or random."""
    return "random" if is_control(model) else "trained"
