"""Run a model over sequences and stream each layer's queries and keys before rotation, checked against itself."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from triaxis.attention.capture import Call, attending
from triaxis.attention.layout import Layout, measure_rotary, require_finite
from triaxis.attention.rope import Rotary
from triaxis.base.errors import UserError
from triaxis.logits.features import Features
from triaxis.logits.logits import logits

Tensor = torch.Tensor


@torch.inference_mode()
def extract_features(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    tokens: NDArray[np.int32],
    numbers: Sequence[int],
    layers: list[int] | None,
    *,
    batch: int,
    tolerance: float,
    write: Callable[[Features], None],
) -> tuple[dict[int, Rotary], dict[int, float]]:
    """Stream the features of tokens (sequences, length), called `numbers`, to `write`, layer by layer.

    layouts: as `probe_layouts` finds them. layers: those to keep, None for all.
    Returns each layer's rotation and its check: the largest difference, over the causal cells of the first
    sequence, between the logits rebuilt from the features and those that the layer itself feeds its softmax,
    relative to the largest of them. Raises UserError if a check exceeds `tolerance`, if a query or key is not
    finite, or if a layer is out of range.
    """
    chosen = sorted(layouts) if layers is None else layers
    if beyond := sorted(set(chosen) - set(layouts)):
        raise UserError(f"features.layers {beyond} are out of range: the model has layers 0 to {max(layouts)}")
    rotaries: dict[int, Rotary] = {}
    errors: dict[int, float] = {}
    live: dict[int, tuple[Tensor, Tensor, float]] = {}
    # The first sequence goes alone: it is the one that is checked.
    starts = [0, *range(1, len(tokens), batch)]

    def attend(call: Call) -> tuple[Tensor, Tensor | None]:
        if call.layer in chosen:
            require_finite(call.layer, call.query, call.key)
            query, key = (x.float().cpu().numpy() for x in (call.query, call.key))
            if call.layer not in rotaries:
                rotary = measure_rotary(call.layout, call.cos[0], call.sin[0], call.scaling)
                rotaries[call.layer] = rotary
                errors[call.layer] = _check(logits(query[0], key[0], rotary), *live.pop(call.layer))
                if not errors[call.layer] <= tolerance:
                    raise UserError(
                        f"layer {call.layer}: logits rebuilt from the features differ from the model's own by "
                        f"{errors[call.layer]:.1e} of the largest, above features.tolerance {tolerance:.1e}; extract "
                        "with run.dtype float32, or do not use this model"
                    )
            for row, number in enumerate(numbers[start:stop]):
                write(Features(number, call.layer, query[row], key[row]))
        progress.update(len(call.query))
        return call.plain()

    def keep(layer: int, query: Tensor, key: Tensor, scaling: float) -> None:
        if layer in chosen:
            live[layer] = query[0], key[0], scaling

    with tqdm(total=len(tokens) * len(layouts), unit="layer", desc="extract", mininterval=5) as progress:
        for start, stop in zip(starts, [*starts[1:], len(tokens)], strict=True):
            with attending(model, layouts, attend, keep if start == 0 else None):
                ids = torch.from_numpy(tokens[start:stop]).long().to(model.device)
                model.base_model(input_ids=ids, use_cache=False)
    return rotaries, errors


def _check(rebuilt: NDArray[np.float32], query: Tensor, key: Tensor, scaling: float) -> float:
    """Relative difference of rebuilt logits (heads, length, length) from scaling * query . key after rotation.

    query: (heads, length, head_dim), key: (key heads, length, head_dim), as the layer rotated them.
    """
    groups = query.double().cpu().unflatten(0, (len(key), -1))
    own = scaling * (groups @ key.double().cpu()[:, None].mT).flatten(0, 1).tril().numpy()
    return float(np.abs(np.tril(rebuilt) - own).max() / max(np.abs(own).max(), 1e-30))
