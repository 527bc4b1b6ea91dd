"""How far a job is, and when it expects to end, for the eyes of whoever waits for it."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from tqdm import tqdm

Part = TypeVar("Part")

# Seconds before a job shows anything: a short one leaves the terminal quiet.
DELAY = 10


def progress(parts: Sequence[Part], what: str, unit: str, delay: float = DELAY) -> Iterable[Part]:
    """`parts` themselves, whose taking is shown on standard error once it has lasted `delay` seconds."""
    return tqdm(parts, desc=what, unit=unit, mininterval=5, delay=delay)
