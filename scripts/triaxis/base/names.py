"""Names of models: a control with random weights is a model of its own, named after the one that it controls."""

SUFFIX = "-random"


def control_of(model: str) -> str:
    """The name of the control of a model as trained."""
    return f"{model}{SUFFIX}"


def is_control(model: str) -> bool:
    return model.endswith(SUFFIX)


def base_of(model: str) -> str:
    """The model as trained whose control this is; a model that is none is its own."""
    return model.removesuffix(SUFFIX)


def weights_of(model: str) -> str:
    """What the tables say of a model's weights: trained or random."""
    return "random" if is_control(model) else "trained"
