"""What a model loses when its order is perturbed, token by token and layer by layer.

The plain run is done once: its attention outputs and last hidden states are kept, and what its head makes of the
latter is what every perturbed run is compared with. docs/method/tolerance.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from triaxis.attention.layout import Layout
from triaxis.base.errors import UserError
from triaxis.model.head import PlainPredictions, log_probabilities, losses_of, predict
from triaxis.model.inputs import passes, token_ids
from triaxis.tolerance.displacement import Displacement
from triaxis.tolerance.perturb import perturbing
from triaxis.tolerance.plain import States, keeping
from triaxis.tolerance.schema import COSINES, TOLERANCE

Tensor = torch.Tensor


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
    batch_tokens: int,
    layers: Sequence[int] | None,
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The rows of tolerance/ and of cosines/, a pass and fraction at a time, of tokens (sequences, length), `numbers`.

    plain: the states of each sequence in turn. displacements: (sequence, fraction) -> what is perturbed; the fractions
    are the same for all. layers: those that the feature perturbation changes, None for all. Nothing is run where
    nothing moves: that is the plain run. Raises UserError for layers that the model lacks, and as `perturbing` does.
    """
    if beyond := sorted(set(layers or []) - set(layouts)):
        raise UserError(f"tolerance.layers {beyond} are out of range: the model has layers 0 to {max(layouts)}")
    fractions, in_text = sorted({fraction for _, fraction in displacements}), perturbation == "text"
    progress = tqdm(total=len(tokens) * len(fractions), unit="sequence", desc=f"perturb {perturbation}", mininterval=5)
    for part in passes(tokens, batch_tokens):
        ids = token_ids(model, tokens[part])
        states = [next(plain) for _ in ids]
        last = torch.stack([each.last for each in states]).to(ids.device, model.dtype)
        unperturbed = predict(model, last)
        plain_predictions = [PlainPredictions(row) for row in unperturbed]
        for fraction in fractions:
            own = [displacements[number, fraction] for number in numbers[part]]
            outputs: dict[int, Tensor] = {}
            predictions = unperturbed
            if any(each.shift.any() for each in own):
                with perturbing(model, layouts, perturbation, partial(_given, own), layers), keeping(model, outputs):
                    predictions = model(input_ids=ids, use_cache=False).logits
            rows, cosines = [], []
            for row, (number, moved) in enumerate(zip(numbers[part], own, strict=True)):
                measures = measures_by_position(plain_predictions[row], predictions[row], ids[row], moved, in_text)
                rows.append(_rows(number, fraction, moved, measures))
                new_position = torch.from_numpy(moved.new_position) if in_text else slice(None)
                for layer, before in states[row].attention.items():
                    after = outputs[layer][row].float().cpu()[new_position] if outputs else before
                    cosines.append(
                        {"sequence": number, "fraction": fraction, "layer": layer, "cosine": mean_cosine(before, after)}
                    )
                progress.update()
            yield pa.concat_tables(rows), pa.Table.from_pylist(cosines, schema=COSINES)
    progress.close()


def mean_cosine(before: Tensor, after: Tensor) -> float | None:
    """The mean cosine of vectors (length, size) and (length, size), of those that are not 0; None if all are."""
    left, right = before.double(), after.double()
    lengths = torch.linalg.vector_norm(left, dim=-1) * torch.linalg.vector_norm(right, dim=-1)
    known = lengths > 0
    return (torch.linalg.vecdot(left, right)[known] / lengths[known]).mean().item() if known.any() else None


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
