"""Surgery by frequency: the pairs of one band of frequencies stop turning, or stop counting, and the model reads on.

A band holds the rotary pairs that make from `low` to `high` full turns over the sequence, so that layers of different
frequency tables are treated alike. With x_m = scale * amplitude^2 * q_m conj(k_m), a pair's term of the logit,
Re x_m exp(1j t_m d), becomes, by the change:

    unrotated    Re x_m: no rotation, the content kept (partial RoPE, Barbero et al. 2024, arXiv 2410.06205)
    mean turn    Re x_m c_m, with c_m the mean of exp(1j t_m d) over the distances 0 to length - 1
    masked       0 (Chiang & Yogatama 2025, arXiv 2502.11276)
    fixed phase  the same, with the key |k_m| exp(1j phi_m) for k_m: phi_m is the phase of the head's mean key on
                 calibration text (after PoPE, Gopalakrishnan et al. 2025, arXiv 2509.10534)

The changed vectors go through the model's own attention. docs/method/surgery.md, "By frequency".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from triaxis.attention.capture import Attend, Call
from triaxis.attention.layout import Layout
from triaxis.attention.pairs import phases
from triaxis.attention.rerun import Rerunner
from triaxis.attention.rope import Rotary, turns_over
from triaxis.model.inputs import passes
from triaxis.surgery.additive import Additive
from triaxis.surgery.schema import BANDS
from triaxis.surgery.variants import CHANGES, NONE, PARTS

Tensor = torch.Tensor


@dataclass(frozen=True)
class Band:
    """The pairs that make at least `low` and less than `high` turns over the sequence."""

    low: float
    high: float

    def pairs(self, rotary: Rotary, length: int) -> NDArray[np.int64]:
        """The numbers of the layer's pairs that are in the band."""
        turns = turns_over(rotary, length)
        return np.flatnonzero((turns >= self.low) & (turns < self.high))


def bands_between(edges: Sequence[float], rotaries: Mapping[int, Rotary], length: int) -> list[Band]:
    """The bands that `edges`, in turns, part the pairs of all layers into, those without a pair left out; the last ends
    at the next float above the fastest pair's turns."""
    fastest = max(float(turns_over(rotary, length).max(initial=0)) for rotary in rotaries.values())
    inner = sorted(edge for edge in edges if edge <= fastest)
    limits = [0.0, *inner, float(np.nextafter(fastest, np.inf))]
    bands = [Band(low, high) for low, high in pairwise(limits)]
    return [band for band in bands if any(len(band.pairs(rotary, length)) for rotary in rotaries.values())]


def parts_of_depth(layers: Sequence[int]) -> dict[str, list[int]]:
    """Name -> layers: all, and the first, middle and last third of them, in order; an empty third is left out."""
    parts = [list(layers), *(third.tolist() for third in np.array_split(np.array(layers), 3))]
    return {name: part for name, part in zip(PARTS, parts, strict=True) if part}


def changed(call: Call, rotary: Rotary, pairs: NDArray[np.int64], change: str, phase: Tensor) -> tuple[Tensor, Tensor]:
    """The query and key of a layer after rotation, `pairs` of which are changed: shapes as in `call`.

    phase: (key heads, pairs) of the layer, the fixed phases.
    """
    layout, cos, sin = call.layout, call.cos, call.sin
    if change == "fixed phase":
        angle = phase[:, None, pairs].to(call.key.device)
        real, imaginary = (torch.as_tensor(x[pairs], device=call.key.device) for x in (rotary.real, rotary.imaginary))
        key = call.key.clone()
        size = torch.hypot(key[..., real].float(), key[..., imaginary].float())
        key[..., real], key[..., imaginary] = ((size * part(angle)).to(key) for part in (torch.cos, torch.sin))
        return layout.rotate(call.query, cos, sin), layout.rotate(key, cos, sin)
    # Each pair reads columns of its own (`probe_layouts`), so a table can turn it by anything.
    column = dict(zip(layout.dimension.tolist(), layout.column.tolist(), strict=True))
    columns = [[column[int(dimension)] for dimension in of[pairs]] for of in (rotary.real, rotary.imaginary)]
    turn = torch.ones(len(pairs), dtype=torch.complex128)
    if change == "mean turn":
        turn = phases(torch.arange(call.query.shape[2]), rotary)[:, pairs].mean(0)
    if change == "masked":
        turn = torch.zeros_like(turn)
    rotated = []
    for vectors, value in ((call.query, turn), (call.key, torch.ones_like(turn))):
        own_cos, own_sin = cos.clone(), sin.clone()
        for read in columns:
            own_cos[..., read] = (rotary.amplitude * value.real).to(cos)
            own_sin[..., read] = (rotary.amplitude * value.imag).to(sin)
        rotated.append(layout.rotate(vectors, own_cos, own_sin))
    return rotated[0], rotated[1]


def change_band(
    band: Band,
    change: str,
    layers: Sequence[int],
    rotaries: Mapping[int, Rotary],
    fixed: Mapping[int, Tensor],
) -> Attend:
    """The attention of a model in whose `layers` the pairs of `band` are changed; fixed: layer -> (heads, pairs), the
    phases of its mean keys."""

    def attend(call: Call) -> tuple[Tensor, Tensor | None]:
        if call.layer not in layers:
            return call.plain()
        rotary = rotaries[call.layer]
        pairs = band.pairs(rotary, call.query.shape[2])
        if not len(pairs):
            return call.plain()
        # Query heads of one key head share its mean key.
        group = call.query.shape[1] // call.key.shape[1]
        return call.with_vectors(*changed(call, rotary, pairs, change, fixed[call.layer][::group].float()))

    return attend


@torch.inference_mode()
def run_bands(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    tokens: NDArray[np.int32],
    numbers: Sequence[int],
    forms: Mapping[tuple[str, int], Additive],
    *,
    batch_tokens: int,
    edges: Sequence[float],
) -> pa.Table:
    """The rows of bands/: the plain run of tokens (sequences, length), called `numbers`, then each band changed in each
    way, in all layers that rotate and in a third of them.

    forms: of calibration/; the mean key of its form 'mean' gives the fixed phases. edges: in turns over the sequence.
    """
    rows: list[dict[str, Any]] = []
    fixed = {layer: form.key.angle() for (name, layer), form in forms.items() if name == "mean"}
    for part in passes(tokens, batch_tokens):
        runner = Rerunner(model, layouts, tokens[part])
        layers, own = runner.rotating(), numbers[part]
        rotaries = {layer: runner.rotaries[layer] for layer in layers}
        rows += _rows(own, runner.plain, {"change": NONE})
        runs = [*_runs(bands_between(edges, rotaries, tokens.shape[1]), layers)]
        for band, change, depth, chosen in tqdm(runs, unit="pass", desc="surgery by frequency", mininterval=5):
            sizes = [len(band.pairs(rotaries[layer], tokens.shape[1])) for layer in chosen]
            if not any(sizes):
                continue
            results = runner.run(change_band(band, change, chosen, rotaries, fixed), chosen[0])
            key = {"change": change, "low": band.low, "high": band.high, "layers": depth}
            key |= {"first_layer": chosen[0], "last_layer": chosen[-1], "pairs": float(np.mean(sizes))}
            rows += _rows(own, results, key)
    return pa.Table.from_pylist(rows, schema=BANDS)


def _runs(bands: Sequence[Band], layers: Sequence[int]) -> Iterator[tuple[Band, str, str, list[int]]]:
    """(band, change, the name of a part of the depth, its layers) of every run."""
    for part, chosen in parts_of_depth(layers).items():
        for band in bands:
            for change in CHANGES:
                yield band, change, part, chosen


def _rows(numbers: Sequence[int], results: Sequence[dict[str, float]], key: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"sequence": number} | key | result for number, result in zip(numbers, results, strict=True)]
