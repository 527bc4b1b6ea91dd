"""The plain run that perturbed runs are compared with: what is kept of it, written to plain/ and read back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from triaxis.attention.replay import attention_modules
from triaxis.base import parquet
from triaxis.model.inputs import passes, token_ids
from triaxis.tolerance.schema import plain_schema

Tensor = torch.Tensor


@dataclass(frozen=True)
class States:
    """What is kept of one sequence's plain run, on the CPU.

    attention: layer -> (length, size), what its attention adds to the residual stream. last: (length, size), what the
    model's head reads.
    """

    attention: Mapping[int, Tensor]
    last: Tensor


@contextmanager
def keeping(model: PreTrainedModel, outputs: dict[int, Tensor]) -> Iterator[None]:
    """Put each attention module's output (batch, length, size) into `outputs`, by layer."""

    def keep(layer: int, output: Any) -> None:
        outputs[layer] = output[0] if isinstance(output, tuple) else output

    handles = [
        module.register_forward_hook(lambda module, args, output, layer=layer: keep(layer, output))
        for layer, module in attention_modules(model).items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def run_plain(model: PreTrainedModel, tokens: NDArray[np.int32], batch_tokens: int) -> Iterator[States]:
    """The states of each sequence, tokens (sequences, length), unperturbed."""
    for part in tqdm(list(passes(tokens, batch_tokens)), unit="pass", desc="plain", mininterval=5):
        attention: dict[int, Tensor] = {}
        ids = token_ids(model, tokens[part])
        with keeping(model, attention):
            last = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        for row in range(len(ids)):
            yield States({layer: output[row].cpu() for layer, output in attention.items()}, last[row].cpu())


def states_to_tables(sequence: int, states: States) -> Iterator[pa.Table]:
    """The rows of plain/ of one sequence: a table for each layer, and one without a layer for the last states."""
    for layer, vectors in [*states.attention.items(), (None, states.last)]:
        length, size = vectors.shape
        schema = plain_schema(size)
        columns = [
            pa.array(np.full(length, sequence, dtype=np.int32)),
            pa.array([layer] * length, pa.int16()),
            pa.array(np.arange(length, dtype=np.int32)),
            pa.FixedSizeListArray.from_arrays(
                pa.array(vectors.float().numpy().ravel()), type=schema.field("vector").type
            ),
        ]
        yield pa.Table.from_arrays(columns, schema=schema)


def read_states(path: str | Path) -> Iterator[States]:
    """The states of each sequence of a file of plain/, in its order. Raises UserError if it is damaged."""
    attention: dict[int, Tensor] = {}
    with parquet.open_parquet(path) as file:
        for group in range(file.num_row_groups):
            with parquet.reading(path):
                table = file.read_row_group(group)
            flat = table["vector"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
            vectors, layer = torch.from_numpy(flat.copy()), table["layer"][0].as_py()
            if layer is not None:
                attention[layer] = vectors
                continue
            yield States(attention, vectors)
            attention = {}
