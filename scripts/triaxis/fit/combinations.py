"""The names of the axes and of their combinations, which tables and figures share with the fit."""

AXES = ("distance", "query", "key")
FULL = "+".join(AXES)
COMBINATIONS = (FULL, "distance+key", "query+key", "distance+query", *AXES)
