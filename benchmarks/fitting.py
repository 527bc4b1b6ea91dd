"""The three-axis fit of a head against its peers, against its own length, and, at 8,192 tokens, against all cells."""

import json
import logging
import resource
from concurrent.futures import ProcessPoolExecutor
from functools import reduce
from multiprocessing import get_context
from operator import and_
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import lsmr

from benchmarks import interleaved, seconds
from triaxis.attention import rope_file
from triaxis.base import parquet
from triaxis.fit.axes import designs, fit_axes
from triaxis.fit.captured_sums import over_axes
from triaxis.fit.combinations import COMBINATIONS, FULL
from triaxis.fit.groups import draw_groups
from triaxis.fit.linear import rotate, sum_over_axes
from triaxis.fit.sums_file import read_sums
from triaxis.logits.features import Features
from triaxis.model.loading import load_model

MODEL = "smollm2-135m"
SHARD = f"model={MODEL}/shard-0000.parquet"
LENGTH, PEER_HEADS = 256, 4
LENGTHS, HEAD_DIM = (1024, 4096, 16384, 65536, 131072), 64
DENSE = (1024, 4096)  # lengths whose matrix fits
LONG, LAYER, HEADS = 8192, 6, [0, 4, 8]

Tensor = torch.Tensor


def measure() -> list[tuple[str, str, str]]:
    return [*against_peers(), *against_length(), *against_all_cells()]


def against_peers() -> list[tuple[str, str, str]]:
    """scipy's lsmr on the same design, and pyfixest's three fixed effects."""
    import pandas as pd
    from pyfixest.estimation import feols

    pair = designs(LENGTH, 0)
    batches = list(read_sums(f"results/sums/{SHARD}", *pair))
    first = batches[0]
    chosen = np.linspace(0, len(first.matrices) - 1, PEER_HEADS).astype(int)
    query, key = np.tril_indices(LENGTH)
    rows = np.arange(len(query))
    columns = np.concatenate([query - key, LENGTH + query, 2 * LENGTH + key])
    design = csr_matrix((np.ones(3 * len(rows)), (np.tile(rows, 3), columns)))
    data = ds.dataset(f"results/logits/{SHARD}")
    logits = []
    for number in chosen:
        wanted = reduce(and_, (ds.field(n) == first.matrices[n][number] for n in first.matrices.column_names))
        logits.append(data.to_table(filter=wanted, columns=["logit"])["logit"].to_numpy().astype(float))
    peer_r: dict[str, list[float]] = {"lsmr": [], "feols": []}

    def ours() -> None:
        fresh = designs(LENGTH, 0)
        for batch in batches:
            fit_axes(batch.whole, batch.heldout, *fresh, FULL)

    def with_lsmr() -> None:
        for values in logits:
            fitted = design @ lsmr(design, values, atol=1e-12, btol=1e-12, maxiter=10_000)[0]
            peer_r["lsmr"].append(np.corrcoef(values, fitted)[0, 1])

    def with_feols() -> None:
        for values in logits:
            frame = pd.DataFrame({"w": values, "d": query - key, "i": query, "j": key})
            fit = feols("w ~ 1 | d + i + j", frame)
            peer_r["feols"].append(float(np.sqrt(1 - np.sum(fit.resid() ** 2) / np.sum((values - values.mean()) ** 2))))

    logging.disable(logging.WARNING)
    seconds(with_feols)  # compiles on first use
    ours_time, lsmr_time, feols_time = interleaved(ours, with_lsmr, with_feols, rounds=3)
    r = fit_axes(first.whole, first.heldout, *pair, FULL).r[chosen].numpy()
    a_head = ours_time / sum(len(batch.matrices) for batch in batches)
    out = []
    for name, peer in (("lsmr", lsmr_time), ("feols", feols_time)):
        difference = np.abs(np.array(peer_r[name][-PEER_HEADS:]) - r).max()
        asked = "at least 30, r within 1e-8" if name == "lsmr" else "-"
        label = {"lsmr": "scipy lsmr", "feols": "pyfixest feols"}[name]
        measured = f"{peer / PEER_HEADS / a_head:.0f}, r within {difference:.0e}"
        out.append((f"{label} / our fit, a head, held-out fit included", measured, asked))
    return out


def some_vectors(length: int) -> tuple[Tensor, Tensor]:
    """A rotated query and key (1, length, HEAD_DIM) of every position, with means, and a first key that is large."""
    generator = torch.Generator().manual_seed(length)
    query, key = (torch.randn(1, length, HEAD_DIM, generator=generator, dtype=torch.float64) + 0.3 for _ in range(2))
    key[:, 0] *= 10
    return query, key


def fit_linearly(length: int) -> None:
    """All six combinations and their held-out fits, from the vectors of one head."""
    sums = sum_over_axes(*some_vectors(length), draw_groups(length, 0))
    pair = designs(length, 0)
    for axes in COMBINATIONS:
        fit_axes(*sums, *pair, axes)


def sum_densely(length: int) -> None:
    """The sums alone, of the matrix."""
    query, key = some_vectors(length)
    cells = (query @ key.mT).tril()
    heldout = torch.from_numpy(draw_groups(length, 0).hold_out(*np.ogrid[:length, :length]))
    for part in (cells, cells * heldout):
        over_axes(part), part.square().sum((1, 2))


def peak_of(length: int) -> float:
    """MiB that `fit_linearly` adds to a process at its peak."""
    fit_linearly(LENGTH)  # what the first call loads stays
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fit_linearly(length)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def exponent(lengths: tuple[int, ...], values: list[float]) -> float:
    """Of the power of the length that the values follow, by least squares."""
    return float(np.polyfit(np.log(lengths), np.log(values), 1)[0])


def against_length() -> list[tuple[str, str, str]]:
    """Time and memory of one head of HEAD_DIM dimensions, on one thread, beside the dense sums."""
    torch.set_num_threads(1)
    fit_linearly(LENGTH)
    times = [min(seconds(lambda n=n: fit_linearly(n)) for _ in range(3)) for n in LENGTHS]  # type: ignore[misc]
    dense = [min(seconds(lambda n=n: sum_densely(n)) for _ in range(3)) for n in DENSE]  # type: ignore[misc]
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
        peaks = [fresh.submit(peak_of, length).result() for length in LENGTHS]

    def line(values: list[float], unit: str, digits: int) -> str:
        return ", ".join(f"{value:.{digits}f}" for value in values) + f" {unit}"

    sizes = f"{HEAD_DIM} dimensions, {', '.join(f'{length:,}' for length in LENGTHS)} tokens"
    return [
        (
            f"fit of a head from its vectors, all axes and held out ({sizes})",
            f"{line(times, 's', 2)}, exponent {exponent(LENGTHS, times):.2f}",
            "exponent at most 1.15",
        ),
        (
            "the dense sums alone, without a fit, at the first two lengths",
            f"{line(dense, 's', 2)}, exponent {exponent(DENSE, dense):.2f}",
            "-",
        ),
        (
            "memory of the same fit, at its peak (exponent from 16,384 tokens on)",
            f"{line(peaks, 'MiB', 0)}, exponent {exponent(LENGTHS[2:], peaks[2:]):.2f}",
            "exponent at most 1.1",
        ),
    ]


def against_all_cells() -> list[tuple[str, str, str]]:
    """Three heads of a layer at LONG tokens of the default model, held to their cells."""
    rotary = rope_file.from_table(parquet.read_parquet(f"results/rope/{SHARD}"))[LAYER]
    features = long_features()
    positions = torch.arange(LONG)
    query = rotary.scale * rotate(torch.from_numpy(features.query[HEADS]).double(), rotary, positions)
    own_keys = features.key[np.array(HEADS) // (len(features.query) // len(features.key))]
    key = rotate(torch.from_numpy(own_keys).double(), rotary, positions)
    worst = max(difference_from_cells(query[[head]], key[[head]]) for head in range(len(HEADS)))
    name = f"layer {LAYER} of {MODEL}, heads {', '.join(map(str, HEADS))}, {LONG:,} tokens: r, held-out r and residuals"
    return [(f"{name} against all cells", f"within {worst:.0e}", "within 1e-6")]


def long_features() -> Features:
    """Queries and keys of LAYER at LONG tokens, as its projections give them: the default model has no norm on them."""
    record = json.loads(Path(f"resources/models/{MODEL}.json").read_text())
    model = load_model(record["folder"], "float32", torch.device("cpu"))
    documents = parquet.read_parquet(f"results/tokens/model={MODEL}/tokens.parquet")["tokens"]
    tokens = torch.tensor(documents.combine_chunks().flatten().to_numpy()[:LONG]).long()[None]
    held: dict[str, Tensor] = {}
    layers = model.base_model.layers
    del layers[LAYER + 1 :]
    for name in ("q_proj", "k_proj"):
        getattr(layers[LAYER].self_attn, name).register_forward_hook(
            lambda _, __, out, name=name: held.update({name: out[0]})
        )
    with torch.inference_mode():
        model.base_model(input_ids=tokens, use_cache=False)
    head_dim = model.config.head_dim
    query, key = (held[name].unflatten(-1, (-1, head_dim)).transpose(0, 1).numpy() for name in ("q_proj", "k_proj"))
    return Features(0, LAYER, query, key)


def difference_from_cells(query: Tensor, key: Tensor) -> float:
    """How far the fit of one head (1, length, head_dim), rotated, is from what its cells say.

    r and held-out r are correlated again over all cells; and a least-squares fit is one whose residuals add up to 0
    over every level: the largest mean residual of a level, relative to the logits' standard deviation.
    """
    length = query.shape[1]
    groups, (whole, seen) = draw_groups(length, 0), designs(length, 0)
    sums, heldout_sums = sum_over_axes(query, key, groups)
    fit = fit_axes(sums, heldout_sums, whole, seen, FULL)
    cells = (query @ key.mT)[0].tril()
    causal = torch.ones_like(cells, dtype=torch.bool).tril()
    heldout = torch.from_numpy(groups.hold_out(*np.ogrid[:length, :length])) & causal
    differences = []
    for coefficients, fitted_to, judged_on, r, design in (
        (fit.coefficients, causal, causal, fit.r, whole),
        (seen.solve(FULL, (sums - heldout_sums).totals), causal & ~heldout, heldout, fit.heldout_r, seen),
    ):
        fitted = fitted_values(coefficients[0])
        own = torch.corrcoef(torch.stack([cells[judged_on], fitted[judged_on]]))[0, 1]
        residual = over_axes(((cells - fitted) * fitted_to)[None])[0, [0, 2, 1]] / design.counts
        differences += [float((own - r).abs()), float(residual.abs().max() / cells[causal].std())]
    return max(differences)


def fitted_values(coefficients: Tensor) -> Tensor:
    """a_{i-j} + b_i + c_j of every cell, 0 above the diagonal: (3, length) -> (length, length)."""
    distance, query, key = coefficients
    position = torch.arange(len(query))
    return (distance[(position[:, None] - position).clamp(min=0)] + query[:, None] + key).tril()
