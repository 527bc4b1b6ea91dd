"""The harness of `make bench`: one module a stage, each with measure() -> [(what, measured, asked for)]."""

import statistics
import time
from collections.abc import Callable


def seconds(action: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def interleaved(*actions: Callable[[], object], rounds: int = 5) -> list[float]:
    """The median wall time of each action over rounds in which each runs once: drift of the machine hits all alike."""
    times = [[seconds(action) for action in actions] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]
