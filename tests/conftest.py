"""What unit tests and pipeline tests share."""

import os
from collections.abc import Iterator

import pytest

from kinds import Kinds


@pytest.fixture(scope="session")
def kinds() -> Iterator[Kinds]:
    """Holds the kinds of input in docs/reliability.md to what a test saw, or, in `make reliability`, writes them."""
    collected = Kinds(write="WRITE_RELIABILITY" in os.environ)
    yield collected
    if collected.write:
        collected.save()
