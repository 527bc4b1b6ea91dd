"""Run a model past its training length, by one method, and measure its loss and its attention.

A method is an attention of `methods`, or the model's own with a scaling of RoPE that transformers knows.
docs/method/length.md.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from triaxis.attention.capture import Attend, Call, attending
from triaxis.attention.layout import Layout
from triaxis.base.choices import ROPE_SCALINGS
from triaxis.base.errors import UserError
from triaxis.length.components import Continued, to_table
from triaxis.length.methods import Bands, Watch, clipped, inf_llm, lm_infinite, plain, thinned
from triaxis.length.schema import COMPONENTS, outputs_schema
from triaxis.length.strided import continue_components
from triaxis.model.head import next_losses, predict
from triaxis.model.inputs import input_device, token_ids
from triaxis.model.loading import RopeScaling
from triaxis.model.memory import watch_memory
from triaxis.text.passkey import passkey_prompt

Tensor = torch.Tensor

WATCHED_QUERIES = 32  # watched in one length, over all sequences
CHECK_LENGTH = 48
TIMED = 3  # passes at a length whose times count, at the least; the first warms up and does not


@dataclass(frozen=True)
class Method:
    """attend(call, watch) -> output and weights or None; chunked: whether it makes do without the model's mask;
    true_distances: whether each key stays at its own; rope_scaling: how RoPE is scaled when the model is loaded."""

    name: str
    attend: Callable[..., Any]
    chunked: bool = False
    true_distances: bool = True
    rope_scaling: RopeScaling | None = None


@dataclass(frozen=True)
class LengthPlan:
    """lengths, ascending, each run on its own; positions: how many of each length's are kept, over all sequences."""

    lengths: Sequence[int]
    training_length: int
    positions: int
    bucket: int
    seed: int


def make_method(name: str, options: Mapping[str, Any], training_length: int, longest: int) -> Method:
    """The method `name` with its options as the configuration's section `length` gives them.

    A window (n_local) that is null is half the training length; a factor that is null is longest / training length.
    Raises UserError for a window that is longer than the training length.
    """
    if name == "plain":
        return Method(name, plain)
    if name in ROPE_SCALINGS:
        factor = options["factor"] or max(1.0, longest / training_length)
        return Method(name, plain, rope_scaling=RopeScaling(name, factor, training_length))
    if name == "clipped":
        return Method(name, partial(clipped, clip=training_length), chunked=True, true_distances=False)
    if name in ("thinned", "clipped_thinned"):
        true = name == "thinned"
        attend = partial(thinned, keys=training_length, seed=options["seed"], clip=None if true else training_length)
        return Method(name, attend, chunked=True, true_distances=true)
    kind = "lm_infinite" if name == "lm_infinite" else "inf_llm"
    own = dict(options[kind])
    if own["n_local"] is None:
        own["n_local"] = training_length // 2
    for key in ("n_local", "limit"):
        if (own.get(key) or 0) > training_length:
            raise UserError(
                f"length.{kind}.{key} {own[key]} is longer than the training length of {training_length} tokens: "
                "distances must stay in the trained range; lower it"
            )
    if kind == "lm_infinite":
        return Method(name, partial(lm_infinite, **own), chunked=True, true_distances=False)
    own["published_quirk"] = name == "inf_llm_published"
    return Method(name, partial(inf_llm, **own), chunked=True, true_distances=False)


def check_lengths(lengths: Sequence[int], training_length: int) -> list[int]:
    """The lengths, ascending. Raises UserError if none lies within the training length: that is the reference."""
    if min(lengths) > training_length:
        raise UserError(
            f"length.lengths {list(lengths)} are all beyond the training length of {training_length} tokens: "
            "outputs within it are what the others are compared with; add one"
        )
    return sorted(lengths)


def sample_positions(plan: LengthPlan, sequences: int) -> dict[int, list[NDArray[np.int64]]]:
    """length -> for each sequence, the positions whose outputs are kept, ascending: drawn from those that the length
    adds to the one before, the same for every method."""
    drawn, before = {}, 0
    for number, length in enumerate(plan.lengths):
        count = min(math.ceil(plan.positions / sequences), length - before)
        drawn[length] = [
            before
            + np.sort(np.random.default_rng([plan.seed, number, n]).choice(length - before, count, replace=False))
            for n in range(sequences)
        ]
        before = length
    return drawn


@dataclass
class Attention:
    """What the attention of each layer looked like at the queries watched, summed over them: layer -> (heads, 4) of
    keys seen, mean and standard deviation of their logits, entropy of their weights (nats); and how many queries."""

    totals: dict[int, Tensor] = field(default_factory=dict)
    queries: dict[int, int] = field(default_factory=dict)

    def observe(self, call: Call, rows: Tensor, logits: Tensor, weights: Tensor) -> None:
        seen = logits.isfinite()
        keys = seen.sum(-1)
        values = logits.float().where(seen, torch.zeros((), device=logits.device))
        mean = values.sum(-1) / keys
        spread = ((values - mean[..., None]) ** 2).where(seen, torch.zeros((), device=logits.device)).sum(-1) / keys
        entropy = torch.special.entr(weights.float()).sum(-1)
        own = torch.stack([keys.float(), mean, spread.sqrt(), entropy], dim=-1).sum((0, 2)).cpu().double()
        self.totals[call.layer] = self.totals.get(call.layer, 0) + own
        self.queries[call.layer] = self.queries.get(call.layer, 0) + len(rows) * len(logits)

    def rows(self, method: str, length: int) -> list[dict[str, Any]]:
        """The rows of length/attention/."""
        names = ("keys", "logit_mean", "logit_sd", "entropy")
        return [
            {"method": method, "length": length, "layer": layer, "head": head, "queries": self.queries[layer]}
            | dict(zip(names, values, strict=True))
            for layer, total in sorted(self.totals.items())
            for head, values in enumerate((total / self.queries[layer]).tolist())
        ]


class Runner:
    """A model that reads with a method's attention."""

    def __init__(self, model: PreTrainedModel, layouts: dict[int, Layout], method: Method) -> None:
        self.model, self.layouts, self.method = model, layouts, method

    def hidden(self, ids: Tensor, attend: Callable[[Call], Any] | None = None) -> Tensor:
        """Last hidden states (batch, length, width) of ids (batch, length); attend: in place of the method's own."""
        bands = Bands() if self.method.chunked else None

        def checked(call: Call) -> Any:
            if bands is not None:
                bands.check(call)
            return attend(call) if attend else self.method.attend(call)

        with attending(self.model, self.layouts, checked, mask=bands):
            return self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state

    def refresh(self) -> None:
        """Let RoPE tables that grew with a longer text start afresh: dynamic ones never shrink by themselves. It also
        brings all weights into memory, head included, so that none counts as what a length takes."""
        self.model(input_ids=torch.ones(1, 2, dtype=torch.long, device=input_device(self.model)), use_cache=False)

    def check(self, ids: Tensor) -> None:
        """Raise UserError if a chunked method with a window that holds the whole text is not the model's own
        attention: then that attention reads more than logits, mask, softcap and sinks."""
        if not self.method.chunked:
            return
        ids = ids[:, :CHECK_LENGTH]
        ours = self.hidden(ids, lambda call: lm_infinite(call, n_global=1, n_local=ids.shape[1]))
        own = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        error = float((ours - own).abs().max() / own.abs().max())
        if not error <= max(1e-3, 32 * torch.finfo(own.dtype).eps):
            raise UserError(
                f"a model of type '{self.model.config.model_type}' refuses {self.method.name}: on a short text, which "
                f"that method should leave as it is, its states are off by {error:.1e}; leave the method out for it"
            )


@dataclass
class Findings:
    """The rows of a method's files; outputs: a table a (length, layer), of `LengthPlan.positions` positions at most."""

    losses: list[dict[str, Any]] = field(default_factory=list)
    attention: list[dict[str, Any]] = field(default_factory=list)
    costs: list[dict[str, Any]] = field(default_factory=list)
    passkeys: list[dict[str, Any]] = field(default_factory=list)
    components: pa.Table = field(default_factory=COMPONENTS.empty_table)
    outputs: list[pa.Table] = field(default_factory=list)


@dataclass
class Observed:
    """What the passes at one length show, beside their losses; outputs: layer -> (heads, n, value_dim) a sequence."""

    attention: Attention = field(default_factory=Attention)
    outputs: dict[int, list[NDArray[np.float32]]] = field(default_factory=dict)
    continued: dict[int, Continued] = field(default_factory=dict)


@torch.inference_mode()
def run_lengths(runner: Runner, tokens: NDArray[np.int32], plan: LengthPlan) -> Findings:
    """Read the first so many of tokens (sequences, longest) for each length of the plan, one sequence at a time.

    Each pass is timed but the first; where sequences are few, some are read again for their time alone. Passkeys are
    left to `run_passkeys`.
    """
    found, method = Findings(), runner.method
    ids = token_ids(runner.model, tokens)
    runner.check(ids[:1])
    sampled = sample_positions(plan, len(tokens))
    for length in tqdm(plan.lengths, unit="length", desc=method.name, mininterval=5):
        observed, times = Observed(), list[float]()
        edges = [*(first for first in plan.lengths if first < length), *range(0, length, plan.bucket)]
        runner.refresh()
        peak = watch_memory(ids.device)
        for number in range(max(len(ids), 1 + TIMED)):
            again, row = number >= len(ids), number % len(ids)
            attend = observing(method, sampled[length][row], len(ids), Observed() if again else observed)
            if method.true_distances and length == plan.lengths[-1] and number == 0:
                attend = fitting(attend, plan.training_length, observed.continued)
            own, start = ids[row, :length], time.perf_counter()
            losses = next_losses(runner.model, runner.hidden(own[None], attend)[0], own).cpu().double().numpy()
            times.append(time.perf_counter() - start)
            if not again:
                found.losses += bucket_losses(method.name, length, row, losses, edges)
        found.costs.append(
            {"method": method.name, "length": length, "passes": len(times) - 1}
            | {"seconds": float(np.median(times[1:])), "fastest": min(times[1:]), "slowest": max(times[1:])}
            | {"memory_mb": peak(), "device": ids.device.type}
        )
        found.attention += observed.attention.rows(method.name, length)
        if observed.continued:
            found.components = to_table(method.name, length, observed.continued)
        for layer, outputs in sorted(observed.outputs.items()):
            found.outputs.append(to_outputs(method.name, length, layer, sampled[length], outputs))
    return found


def observing(method: Method, positions: NDArray[np.int64], sequences: int, observed: Observed) -> Attend:
    """The method's attention, observed at `positions` (n,) of one of so many sequences: all of its outputs there, and
    its weights at a few of them."""
    places = torch.from_numpy(positions)
    watched = max(1, WATCHED_QUERIES // sequences)
    watch = Watch(places[:: -(-len(places) // watched)], observed.attention.observe)

    def attend(call: Call) -> tuple[Tensor, Tensor | None]:
        output, weights = method.attend(call, watch)
        own = output[0, places.to(output.device)].transpose(0, 1).float().cpu().numpy()
        observed.outputs.setdefault(call.layer, []).append(own)
        return output, weights

    return attend


def fitting(inner: Attend, training_length: int, continued: dict[int, Continued]) -> Attend:
    """The attention `inner`, each rotating layer's distance components beside it in continued[layer]."""

    def attend(call: Call) -> tuple[Tensor, Tensor | None]:
        if len(call.layout.dimension):
            query, key = (x[0].float().cpu().numpy() for x in (call.query, call.key))
            continued[call.layer] = continue_components(query, key, call.rotary(), training_length)
        return inner(call)

    return attend


def bucket_losses(
    method: str, length: int, sequence: int, losses: NDArray[np.float64], edges: Sequence[int]
) -> list[dict[str, Any]]:
    """The rows of length/losses/ of one run: losses (length - 1,) of the tokens at positions 1, 2, ...; a bucket is
    the positions from one of `edges` to before the next."""
    rows = []
    ends = sorted({*edges, length})
    for first, end in pairwise(ends):
        own = losses[max(first - 1, 0) : end - 1]
        if len(own):
            rows.append(
                {"method": method, "length": length, "sequence": sequence, "first": max(first, 1), "last": end - 1}
                | {"tokens": len(own), "loss": float(own.mean())}
            )
    return rows


def to_outputs(
    method: str,
    length: int,
    layer: int,
    positions: Sequence[NDArray[np.int64]],
    outputs: Sequence[NDArray[np.float32]],
) -> pa.Table:
    """The rows of length/outputs/ of one layer, by sequence, head and position; outputs: (heads, positions, value_dim)
    a sequence."""
    schema = outputs_schema(outputs[0].shape[-1])
    blocks = []
    for number, (own, vectors) in enumerate(zip(positions, outputs, strict=True)):
        heads, count, _ = vectors.shape
        n = heads * count
        columns = [
            pa.repeat(method, n),
            np.full(n, length, np.int32),
            np.full(n, layer, np.int16),
            np.repeat(np.arange(heads, dtype=np.int16), count),
            np.full(n, number, np.int32),
            np.tile(own.astype(np.int32), heads),
            pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=schema.field("vector").type),
        ]
        blocks.append(pa.table(columns, schema=schema))
    return pa.concat_tables(blocks).combine_chunks()


@torch.inference_mode()
def run_passkeys(
    runner: Runner,
    encode: Callable[[str], Sequence[int]],
    filler: NDArray[np.integer],
    prefix: Sequence[int],
    lengths: Sequence[int],
    depths: Sequence[float],
    trials: int,
    seed: int,
) -> list[dict[str, Any]]:
    """The rows of length/passkeys/: whether the model, asked at the end of `lengths` tokens, gives the hidden number.

    The answer follows the prompt in one pass, and is correct if each of its tokens is the likeliest there: what
    greedy decoding would give. Depths share the filler and the number, trials differ in both.
    """
    rows = []
    for length, trial in [(length, trial) for length in lengths for trial in range(trials)]:
        for depth in depths:
            prompt = passkey_prompt(encode, filler, length, depth, [seed, length, trial], prefix=prefix, candidates=1)
            answer = prompt.answers[0]
            ids = token_ids(runner.model, np.concatenate([prompt.tokens, answer]))[None]
            runner.refresh()
            predictions = predict(runner.model, runner.hidden(ids)[:, -len(answer) - 1 : -1])[0].float()
            target = ids[0, -len(answer) :]
            right = int((predictions.argmax(-1) == target).sum())
            rows.append(
                {"method": runner.method.name, "length": length, "depth": depth, "trial": trial}
                | {"needle": prompt.needle.start, "tokens": len(answer), "right": right}
                | {"correct": right == len(answer)}
                | {"loss": float(torch.nn.functional.cross_entropy(predictions, target))}
            )
    return rows
