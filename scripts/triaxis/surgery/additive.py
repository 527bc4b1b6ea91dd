"""Logits that are a sum of position and meaning, f(q, d) + g(q, k), and how their parameters are calibrated.

Pair by pair, with Q_m = scale * amplitude^2 * q_m, a layer's additive logit is

    f(q, d) = Re sum_m Q_m conj(key_m) exp(1j t_m d)
    g(q, k) = Re sum_m Q_m conj(k_m - key_m) turn_m + scale * unrotated dot product

f knows the key by its distance alone, g by its content alone. With the mean key and the mean rotation this is the
closed form of `mechanism.closed_form`; docs/method/surgery.md gives the other forms.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from triaxis.attention.pairs import as_real, phases, to_pairs
from triaxis.attention.rope import Rotary
from triaxis.surgery.schema import CALIBRATION

Tensor = torch.Tensor


@dataclass(frozen=True)
class Additive:
    """The parameters of one layer's additive logit, each (heads, pairs) complex: see the module's formulas."""

    key: Tensor
    turn: Tensor

    def logits(self, query: Tensor, key: Tensor, rotary: Rotary, position: bool = True, meaning: bool = True) -> Tensor:
        """f + g, f alone (position) or g alone (meaning): (batch, heads, length, length) float32, cells above the
        diagonal included.

        query (batch, heads, length, head_dim) and key (batch, key heads, length, head_dim), before rotation.
        f(q_i, i - j) is a product of turned queries with turned units, so nothing is gathered along diagonals; and
        f + g is one product, over the vectors of both.
        """
        query, key = query.float(), key.float()
        queries, keys = to_pairs(query, rotary), to_pairs(key, rotary)
        scale = rotary.scale * rotary.amplitude**2
        phase = phases(torch.arange(query.shape[2]), rotary)
        # Single precision first: not every device knows double.
        mean, turn, phase = (x.to(queries.dtype).to(queries.device) for x in (self.key, self.turn, phase))
        mean, turn = mean[:, None], scale * turn[:, None]
        left, right = [], []
        if position:
            left.append(as_real(queries * (scale * mean.conj() * phase)))
            right.append(as_real(phase).expand(*key.shape[:2], -1, -1))
        if meaning:
            kept = torch.as_tensor(rotary.unrotated, device=query.device)
            turned = queries * turn
            constant = (turned * mean.conj()).real.sum(-1, keepdim=True)
            left += [as_real(turned), constant, rotary.scale * query.index_select(-1, kept)]
            right += [as_real(keys), -torch.ones_like(key[..., :1]), key.index_select(-1, kept)]
        groups = torch.cat(left, dim=-1).unflatten(1, (key.shape[1], -1))
        return (groups @ torch.cat(right, dim=-1)[:, :, None].mT).flatten(1, 2)


def calibration_sums(query: Tensor, key: Tensor, weights: Tensor, rotary: Rotary) -> dict[str, Tensor]:
    """What some sequences add to the sums that all forms of one layer follow from, in double precision on the CPU.

    query (batch, heads, length, head_dim) and key (batch, key heads, length, head_dim), before rotation; attention
    weights (batch, heads, length, length). keys and first_keys (heads, pairs): sums over all keys and over the first
    of each sequence. attention and first_attention (heads, length): by distance, over all cells and over those of
    the first key.
    """
    heads, length = query.shape[1], query.shape[2]
    keys = to_pairs(key.float(), rotary).cpu().to(torch.complex128).repeat_interleave(heads // key.shape[1], dim=1)
    weights = weights.sum(0, dtype=torch.float32).cpu().double()
    positions = torch.arange(length)
    distance = (positions[:, None] - positions).clamp_min(0)  # cells above the diagonal have weight 0
    return {
        "sequences": torch.tensor(float(len(query)), dtype=torch.float64),
        "keys": keys.sum((0, 2)),
        "first_keys": keys[:, :, 0].sum(0),
        "attention": weights.new_zeros(heads, length).index_add_(1, distance.flatten(), weights.flatten(1)),
        "first_attention": weights[..., 0],
    }


def calibrate(totals: Mapping[str, Tensor], rotary: Rotary) -> dict[str, Additive]:
    """Name -> additive logit of one layer, from the sums of `calibration_sums`.

    mean: the mean key, and the mean rotation over all distances. attended: the rotation weighted by attention.
    +sink: the same without the first key. first: what serves the first key in its stead, its own mean key with the
    rotation of attended+sink.
    """
    length = totals["attention"].shape[1]
    rotation = phases(torch.arange(length), rotary)
    count, first = totals["sequences"], totals["first_keys"]
    everything = totals["keys"] / (count * length)
    rest = (totals["keys"] - first) / (count * (length - 1))
    uniform = rotation.mean(0).expand_as(rest)
    attended = _weighted_mean(rotation, totals["attention"])
    attended_rest = _weighted_mean(rotation, totals["attention"] - totals["first_attention"])
    return {
        "mean": Additive(everything, uniform),
        "mean+sink": Additive(rest, uniform),
        "attended": Additive(everything, attended),
        "attended+sink": Additive(rest, attended_rest),
        "first": Additive(first / count, attended_rest),
    }


def _weighted_mean(rotation: Tensor, weights: Tensor) -> Tensor:
    """rotation (length, pairs), weights (heads, length) -> (heads, pairs)."""
    return (weights.to(rotation) @ rotation) / weights.sum(1, keepdim=True).clamp_min(1e-30)


def to_table(forms: Mapping[tuple[str, int], Additive]) -> pa.Table:
    """The rows of calibration/ from (form, layer) -> its parameters."""
    blocks = []
    for (form, layer), additive in forms.items():
        heads, pairs = additive.key.shape
        columns = [
            np.full(heads * pairs, layer),
            np.repeat(np.arange(heads), pairs),
            np.full(heads * pairs, form),
            np.tile(np.arange(pairs), heads),
            *(part.numpy().ravel() for x in (additive.key, additive.turn) for part in (x.real, x.imag)),
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, CALIBRATION, strict=True)]
        blocks.append(pa.Table.from_arrays(arrays, schema=CALIBRATION))
    return pa.concat_tables(blocks)


def from_table(table: pa.Table) -> dict[tuple[str, int], Additive]:
    """(form, layer) -> its parameters, from the rows of calibration/."""
    frame = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    heads, forms = int(frame["head"].max()) + 1, {}
    for form, layer in dict.fromkeys(zip(frame["form"].tolist(), frame["layer"].tolist(), strict=True)):
        own = (frame["form"] == form) & (frame["layer"] == layer)
        key, turn = (
            torch.from_numpy((frame[f"{name}_real"] + 1j * frame[f"{name}_imaginary"])[own].reshape(heads, -1))
            for name in ("key", "turn")
        )
        forms[form, layer] = Additive(key, turn)
    return forms
