"""What may predict the cost of wrong distances in a head: the change of f, and baselines that know less.

A change D_ij of the logits of query i moves its attention weights a_ij by a KL divergence of half the variance of D_ij
under a_ij, to second order. Each predictor is that half variance, averaged over the queries, for what it knows of D:

    f           f(q_i, d + offset) - f(q_i, d): the mean key of the sequence for every key
    scrambled   the same, of keys whose phases are drawn anew (norms kept)
    norms       for the variance, the mean of D^2 over random phases,
                sum_m |Q_m|^2 |k_m|^2 |exp(1j t_m offset) - 1|^2 / 2
    logits      the change of the logits themselves: no prediction by f, but the most that one by logits can be

and beside them the entropy of the attention and the slow pairs' share of the norm. All are of plain runs, on sequences
that no cost is measured on. docs/method/tolerance.md, "Head by head".
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from triaxis.attention.capture import Call, attending
from triaxis.attention.layout import Layout
from triaxis.attention.pairs import phases, to_pairs
from triaxis.attention.rope import Rotary, turns_over
from triaxis.model.inputs import token_ids
from triaxis.tolerance.displacement import Displacement
from triaxis.tolerance.perturb import offset_logits, require_fixed_table
from triaxis.tolerance.schema import PREDICTORS

Tensor = torch.Tensor


def attention_kl(change: Tensor, weights: Tensor) -> Tensor:
    """(heads,): half the variance of `change` under `weights`, both (heads, length, length), mean over queries.

    What a sink takes of the weights has no change.
    """
    change, weights = change.double(), weights.double()
    change = torch.where(weights > 0, change, 0)
    mean = (weights * change).sum(-1)
    return ((weights * change**2).sum(-1) - mean**2).mean(-1) / 2


def scramble(key: Tensor, rotary: Rotary, seed: Sequence[int]) -> Tensor:
    """key (key heads, length, head_dim) with a phase drawn for each pair of each key; norms stay."""
    shape = (*key.shape[:2], len(rotary.frequency))
    angle = torch.from_numpy(np.random.default_rng(seed).uniform(0, 2 * np.pi, shape)).to(key.device)
    turned = to_pairs(key, rotary) * torch.polar(torch.ones_like(angle), angle).to(torch.complex64)
    scrambled = key.clone()
    scrambled[..., rotary.real], scrambled[..., rotary.imaginary] = turned.real, turned.imag
    return scrambled


def squares_by_norm(query: Tensor, key: Tensor, rotary: Rotary, offsets: Tensor) -> Tensor:
    """(heads, length, length): the mean of the squared change of each logit over independent uniform phases of its
    pairs; query (heads, length, head_dim), key (key heads, length, head_dim), offsets (length, length)."""
    scale = rotary.scale * rotary.amplitude**2
    left, right = (scale * to_pairs(query, rotary)).abs() ** 2 / 2, to_pairs(key, rotary).abs() ** 2
    values, index = offsets.unique(return_inverse=True)
    swing = ((phases(values.cpu(), rotary) - 1).abs() ** 2).to(left)
    squares = torch.zeros(len(query), *offsets.shape, device=query.device)
    for number in range(len(values)):
        product = (left * swing[number]).unflatten(0, (len(key), -1)) @ right[:, None].mT
        squares = torch.where(index == number, product.flatten(0, 1), squares)
    return squares


def slow_share(query: Tensor, key: Tensor, rotary: Rotary) -> Tensor:
    """(heads,): the share of sum_m mean|q_m| mean|k_m| of the pairs that turn less than once over the sequence."""
    size = [to_pairs(x, rotary).abs().double().mean(1) for x in (query, key)]
    norm = size[0] * size[1].repeat_interleave(len(query) // len(key), dim=0)
    slow = torch.as_tensor(turns_over(rotary, query.shape[1]) < 1, device=query.device)
    return norm[:, slow].sum(-1) / norm.sum(-1)


def predict_layer(
    query: Tensor, key: Tensor, weights: Tensor, rotary: Rotary, offsets: Tensor, seed: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Predictor -> (heads,), of one layer and sequence.

    query (heads, length, head_dim) and key (key heads, length, head_dim), before rotation; attention weights (heads,
    length, length); offsets (length, length), what is added to the distances.
    """
    query, key, weights = query.float(), key.float(), weights.float()

    def change(key: Tensor) -> Tensor:
        own = query[None], key[None], rotary
        return (offset_logits(*own, offsets[None]) - offset_logits(*own, torch.zeros_like(offsets)[None]))[0]

    def of_mean(key: Tensor) -> Tensor:
        return change(key.mean(1, keepdim=True).expand_as(key))

    found = {
        "f": attention_kl(of_mean(key), weights),
        "scrambled": attention_kl(of_mean(scramble(key, rotary, seed)), weights),
        "norms": (weights * squares_by_norm(query, key, rotary, offsets)).double().sum(-1).mean(-1) / 2,
        "logits": attention_kl(change(key), weights),
        "entropy": torch.special.entr(weights.double()).sum(-1).mean(-1),
        "slow_share": slow_share(query, key, rotary),
    }
    return {name: values.cpu().numpy() for name, values in found.items()}


@torch.inference_mode()
def run_predictors(
    model: PreTrainedModel,
    layouts: dict[int, Layout],
    tokens: NDArray[np.int32],
    numbers: Sequence[int],
    displacements: Sequence[Displacement],
) -> pa.Table:
    """The rows of predictors/: of each head that rotates, in the plain run of each of tokens (sequences, length),
    called `numbers`, with the offsets of its displacement. Raises UserError as `run_heads` does."""
    require_fixed_table(model)
    tables = []
    progress = tqdm(total=len(tokens) * len(layouts), unit="layer", desc="predict heads", mininterval=5)
    for number, own, displacement in zip(numbers, tokens, displacements, strict=True):
        ids = token_ids(model, own)[None]
        offsets = torch.from_numpy(displacement.offsets())

        def attend(call: Call, number: int = number, offsets: Tensor = offsets) -> tuple[Tensor, Tensor | None]:
            rotary = call.rotary()
            if len(rotary.frequency):
                found = predict_layer(
                    call.query[0],
                    call.key[0],
                    call.weights()[0],
                    rotary,
                    offsets.to(call.query.device),
                    [number, call.layer],
                )
                heads = np.arange(call.query.shape[1])
                key = {"sequence": np.full(len(heads), number), "layer": np.full(len(heads), call.layer), "head": heads}
                columns = [pa.array((key | found)[field.name], field.type) for field in PREDICTORS]
                tables.append(pa.Table.from_arrays(columns, schema=PREDICTORS))
            progress.update()
            return call.plain()

        with attending(model, layouts, attend):
            model.base_model(input_ids=ids, use_cache=False)
    progress.close()
    return pa.concat_tables(tables)
