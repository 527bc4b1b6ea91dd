"""What a user may choose from by name. The module imports no other of ours, so that each of them may use it."""

from typing import Literal, get_args

# How order is perturbed, in tolerance and in tasks (tolerance.perturb).
PerturbationName = Literal["text", "position", "feature"]
PERTURBATIONS: tuple[str, ...] = get_args(PerturbationName)

# How a model reads past its training length (length.run): by attention of another form, with one of its two changes
# alone (distances past the training length, number of keys), or with RoPE scaled.
ScalingName = Literal["yarn", "linear", "dynamic"]
ControlName = Literal["clipped", "thinned", "clipped_thinned"]
MethodName = Literal["plain", "lm_infinite", "inf_llm", "inf_llm_published", ControlName, ScalingName]
ROPE_SCALINGS: tuple[str, ...] = get_args(ScalingName)
LENGTH_METHODS: tuple[str, ...] = get_args(MethodName)

# The variants of surgery that may also be run in steps (surgery.variants); the others are run in all layers alone.
VariantName = Literal["f+g", "f", "g", "f+g+sink", "attended", "attended+sink", "attended+first-f"]
STEP_VARIANTS: tuple[str, ...] = get_args(VariantName)
