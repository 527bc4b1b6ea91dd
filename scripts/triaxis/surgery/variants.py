"""What surgery puts in place of the logits (additive forms, halves of them, controls), and what becomes of a band of
frequencies.

Names and definitions alone, so that a table needs no model; `surgery.replace` and `surgery.bands` run them.
docs/method/surgery.md.
"""

from dataclasses import dataclass

# The form of a control that follows the additive variant chosen on other sequences.
CHOSEN = "chosen"


@dataclass(frozen=True)
class Variant:
    """What replaces the logits.

    kind: 'exact', 'additive' (f(q, d) + g(q, k), one f and one g for all keys), 'half', 'first key apart' or
    'control'. form: of calibration/, None for the exact logits, of which the position part f, the meaning part g, or
    both enter. first: the first key's logits are like the others ('like'), stay 'exact', or have a form of their 'own'.
    window: so many of the last keys, and the first one, keep their exact logits; the others have those of the form, or
    are masked if there is none. noise: exact logits with noise of the size of the form's error.
    """

    kind: str
    form: str | None = None
    position: bool = True
    meaning: bool = True
    first: str = "like"
    window: int | None = None
    noise: bool = False


VARIANTS = {
    "exact": Variant("exact"),
    "f+g": Variant("additive", "mean"),
    "f": Variant("half", "mean", meaning=False),
    "g": Variant("half", "mean", position=False),
    "f+g+sink": Variant("first key apart", "mean+sink", first="exact"),
    "attended": Variant("additive", "attended"),
    "attended+sink": Variant("first key apart", "attended+sink", first="exact"),
    "attended+first-f": Variant("first key apart", "attended+sink", first="own"),
    "noise": Variant("control", CHOSEN, noise=True),
    "window-64": Variant("control", window=64),
    "window-16": Variant("control", window=16),
    "window-64+additive": Variant("control", CHOSEN, window=64),
    "window-16+additive": Variant("control", CHOSEN, window=16),
}

# Strictly additive for every key, the first included: the best of them is chosen on sequences of its own.
ADDITIVE = [name for name, variant in VARIANTS.items() if variant.kind == "additive"]

# What becomes of the pairs of a band of frequencies, and in which parts of the depth; none: the plain run.
CHANGES = ("unrotated", "mean turn", "masked", "fixed phase")
PARTS = ("all", "first third", "middle third", "last third")
NONE = "none"
