"""What a user may choose from by name. The module imports nothing, so that the configuration and figures may use it."""

# How order is perturbed, in tolerance and in tasks (tolerance.perturb).
PERTURBATIONS = ("text", "position", "feature")

# How a model reads past its training length (length.run): by attention of another form, or with RoPE scaled.
ROPE_SCALINGS = ("yarn", "linear", "dynamic")
LENGTH_METHODS = ("plain", "lm_infinite", "inf_llm", "inf_llm_published", *ROPE_SCALINGS)

# What surgery puts in place of the logits (surgery.run).
SURGERY_VARIANTS = ("exact", "f+g", "f", "g", "f+g+sink", "attended", "attended+sink", "attended+first")
