"""Modules that answer with what they are told instead of running."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def answering(answers: Iterable[tuple[torch.nn.Module, Any]]) -> Iterator[None]:
    """While open, each module answers with its output beside it; then it runs again as it did before.

    A `forward` that another library gave a module, such as the hooks of accelerate, is put back.
    """
    before = []
    try:
        for module, output in answers:
            before.append((module, vars(module).get("forward")))
            module.forward = lambda *args, output=output, **options: output
        yield
    finally:
        for module, forward in reversed(before):
            if forward is None:
                del module.forward
            else:
                module.forward = forward
