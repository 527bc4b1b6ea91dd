"""What a model loses when its order is perturbed, token by token and layer by layer.

The plain run is done once: its attention outputs and last hidden states are kept, and what its head makes of the
latter is what every perturbed run is compared with. docs/method/tolerance.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from triaxis.attention.layout import Layout
from triaxis.attention.replay import attention_modules
from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.model.head import PlainPredictions, log_probabilities, losses_of, predict
from triaxis.tolerance.displacement import Displacement
from triaxis.tolerance.perturb import perturbing
from triaxis.tolerance.schema import COSINES, TOLERANCE, plain_schema

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
def _keeping(model: PreTrainedModel, outputs: dict[int, Tensor]) -> Iterator[None]:
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
def run_plain(model: PreTrainedModel, tokens: NDArray[np.int32], batch: int) -> Iterator[States]:
    """The states of each sequence, tokens (sequences, length), unperturbed."""
    for start in tqdm(range(0, len(tokens), batch), unit="batch", desc="plain", mininterval=5):
        attention: dict[int, Tensor] = {}
        ids = torch.from_numpy(tokens[start : start + batch]).long().to(model.device)
        with _keeping(model, attention):
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


def measures_by_position(
    plain: PlainPredictions, predictions: Tensor, tokens: Tensor, displacement: Displacement, moved: bool
) -> dict[str, NDArray]:
    """Measures of a perturbed run, (length,) each, by position in the unperturbed text; NaN where undefined.

    predictions (length, vocabulary), by position in the text as perturbed; tokens (length,), unperturbed; moved:
    whether they stand where the displacement puts them. loss: on the original next token, unless that now stands
    before. perturbed_loss: on the token that now comes next. agreement: of the likeliest next token with the plain
    run's. kl: KL(plain || perturbed).
    """
    length, positions = len(tokens), torch.arange(len(tokens), device=tokens.device)
    new_position = torch.from_numpy(displacement.new_position).to(positions) if moved else positions
    text = tokens[torch.from_numpy(displacement.order).to(positions)] if moved else tokens
    logs = log_probabilities(predictions)
    logs = logs[new_position] if moved else logs
    loss, perturbed = logs.new_full((2, length), float("nan"))
    ahead = new_position[1:] > new_position[:-1]
    loss[:-1][ahead] = losses_of(logs[:-1], tokens[1:])[ahead]
    inside = new_position < length - 1
    perturbed[inside] = losses_of(logs[inside], text[new_position[inside] + 1])
    return {
        "loss": loss.cpu().numpy(),
        "perturbed_loss": perturbed.cpu().numpy(),
        "agreement": plain.agreement(logs).cpu().numpy(),
        "kl": plain.kl(logs).clamp_min(0).cpu().numpy(),
    }


@torch.inference_mode()
def run_perturbation(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    perturbation: str,
    tokens: NDArray[np.int32],
    numbers: Sequence[int],
    plain: Iterator[States],
    displacements: Mapping[tuple[int, float], Displacement],
    *,
    batch: int,
    layers: Sequence[int] | None,
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The rows of tolerance/ and of cosines/, a batch and fraction at a time, of tokens (sequences, length), `numbers`.

    plain: the states of each sequence in turn. displacements: (sequence, fraction) -> what is perturbed; the fractions
    are the same for all. layers: those that the feature perturbation changes, None for all. Nothing is run where
    nothing moves: that is the plain run. Raises UserError for layers that the model lacks, and as `perturbing` does.
    """
    if beyond := sorted(set(layers or []) - set(layouts)):
        raise UserError(f"tolerance.layers {beyond} are out of range: the model has layers 0 to {max(layouts)}")
    fractions, in_text = sorted({fraction for _, fraction in displacements}), perturbation == "text"
    progress = tqdm(total=len(tokens) * len(fractions), unit="sequence", desc=f"perturb {perturbation}", mininterval=5)
    for start in range(0, len(tokens), batch):
        ids = torch.from_numpy(tokens[start : start + batch]).long().to(model.device)
        states = [next(plain) for _ in ids]
        last = torch.stack([each.last for each in states]).to(model.device, model.dtype)
        unperturbed = predict(model, last)
        plain_predictions = [PlainPredictions(row) for row in unperturbed]
        for fraction in fractions:
            own = [displacements[number, fraction] for number in numbers[start : start + batch]]
            outputs: dict[int, Tensor] = {}
            predictions = unperturbed
            if any(each.shift.any() for each in own):
                with perturbing(model, layouts, perturbation, partial(_given, own), layers), _keeping(model, outputs):
                    predictions = model(input_ids=ids, use_cache=False).logits
            rows, cosines = [], []
            for row, (number, moved) in enumerate(zip(numbers[start : start + batch], own, strict=True)):
                measures = measures_by_position(plain_predictions[row], predictions[row], ids[row], moved, in_text)
                rows.append(_rows(number, fraction, moved, measures))
                new_position = torch.from_numpy(moved.new_position) if in_text else slice(None)
                for layer, before in states[row].attention.items():
                    after = outputs[layer][row].float().cpu()[new_position] if outputs else before
                    cosine = torch.cosine_similarity(before.double(), after.double(), dim=-1).mean().item()
                    cosines.append({"sequence": number, "fraction": fraction, "layer": layer, "cosine": cosine})
                progress.update()
            yield pa.concat_tables(rows), pa.Table.from_pylist(cosines, schema=COSINES)
    progress.close()


def _given(displacements: list[Displacement], ids: Tensor) -> list[Displacement]:
    """The displacements of one batch, whatever its tokens."""
    return displacements


def _rows(number: int, fraction: float, displacement: Displacement, measures: Mapping[str, NDArray]) -> pa.Table:
    """The rows of tolerance/ of one sequence and fraction; NaN becomes null."""
    length = len(displacement.order)
    columns = {
        "sequence": np.full(length, number),
        "fraction": np.full(length, fraction),
        "moved_fraction": np.full(length, displacement.moved_fraction),
        "displacement": np.full(length, displacement.mean_shift),
        "position": np.arange(length),
        "new_position": displacement.new_position,
        **measures,
    }
    arrays = [pa.array(columns[field.name], from_pandas=True).cast(field.type) for field in TOLERANCE]
    return pa.Table.from_arrays(arrays, schema=TOLERANCE)
