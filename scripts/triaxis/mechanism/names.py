"""Names that the stages, tables and figures of additivity share."""

# The shares that tables give, and what they are called.
SHARES = {
    "r_additive": "r_additive",
    "key_independence": "key independence",
    "distance_independence": "distance independence",
}

# What additivity/ says of the keys' phases.
OWN, SCRAMBLED = "own", "scrambled"
