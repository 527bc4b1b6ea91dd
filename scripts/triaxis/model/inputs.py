"""What a forward pass is given: some sequences at once, on the device of the model's embedding."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel


def per_pass(batch_tokens: int, length: int) -> int:
    """How many sequences of `length` tokens one pass takes: as many as `batch_tokens` hold, and at least one."""
    return max(1, batch_tokens // length)


def passes(tokens: NDArray[np.int32], batch_tokens: int) -> Iterator[slice]:
    """The sequences of each pass over tokens (sequences, length)."""
    count, length = tokens.shape
    step = per_pass(batch_tokens, length)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def input_device(model: PreTrainedModel) -> torch.device:
    """Where a model takes its token ids: the device of its embedding. Where accelerate keeps that elsewhere and brings
    it to a device only while it runs (its weight is on 'meta' then), that device."""
    embedding: Any = model.get_input_embeddings()
    device = embedding.weight.device
    return torch.device(embedding._hf_hook.execution_device) if device.type == "meta" else device


def token_ids(model: PreTrainedModel, tokens: NDArray[np.int32]) -> torch.Tensor:
    """Tokens of any shape, as the model takes them."""
    return torch.from_numpy(tokens).long().to(input_device(model))
