"""The three-axis fit of a head against scipy's lsmr on the same design and pyfixest's three fixed effects."""

import logging
from functools import reduce
from operator import and_

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import lsmr

from benchmarks import interleaved, seconds
from triaxis.fit import axes
from triaxis.fit.sums import read_sums

SHARD = "model=smollm2-135m/shard-0000.parquet"
LENGTH, AXES, PEER_HEADS = 256, axes.FULL, 4


def measure() -> list[tuple[str, str, str]]:
    from pyfixest.estimation import feols

    whole, half = axes.designs(LENGTH, 0)
    matrices, sums, half_sums = read_sums(f"results/sums/{SHARD}", whole, half)
    chosen = np.linspace(0, len(matrices) - 1, PEER_HEADS).astype(int)
    query, key = np.tril_indices(LENGTH)
    rows = np.arange(len(query))
    columns = np.concatenate([query - key, LENGTH + query, 2 * LENGTH + key])
    design = csr_matrix((np.ones(3 * len(rows)), (np.tile(rows, 3), columns)))
    data = ds.dataset(f"results/logits/{SHARD}")
    logits = []
    for number in chosen:
        wanted = reduce(and_, (ds.field(name) == matrices[name][number] for name in matrices.column_names))
        logits.append(data.to_table(filter=wanted, columns=["logit"])["logit"].to_numpy().astype(float))
    peer_r: dict[str, list[float]] = {"lsmr": [], "feols": []}

    def ours() -> None:
        fresh_whole, fresh_half = axes.designs(LENGTH, 0)
        axes.fit_axes(sums, half_sums, fresh_whole, fresh_half, AXES)

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
    r = axes.fit_axes(sums, half_sums, whole, half, AXES).r[chosen]
    a_head = ours_time / len(matrices)
    out = []
    for name, peer in (("lsmr", lsmr_time), ("feols", feols_time)):
        difference = np.abs(np.array(peer_r[name][-PEER_HEADS:]) - r).max()
        asked = "at least 30, r within 1e-8" if name == "lsmr" else "-"
        label = {"lsmr": "scipy lsmr", "feols": "pyfixest feols"}[name]
        measured = f"{peer / PEER_HEADS / a_head:.0f}, r within {difference:.0e}"
        out.append((f"{label} / our fit, a head, held-out fit included", measured, asked))
    return out
