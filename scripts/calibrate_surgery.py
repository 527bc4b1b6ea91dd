"""Calibrate the additive logits of a model on sequences that nothing else reads."""

import json
from pathlib import Path

import numpy as np
import torch

from triaxis import additive, provenance, sources, tables
from triaxis.capture import probe_layouts
from triaxis.faults import reporting
from triaxis.models import choose_device, load_model
from triaxis.sampling import sample_beyond
from triaxis.surgery import calibrate_model

with reporting(snakemake.log[0]) as log:
    params = snakemake.params
    torch.set_num_threads(snakemake.threads)
    record = json.loads(Path(snakemake.input.record).read_text())
    sources.verify(record)
    upstream = tables.read_metadata(snakemake.input.tokens)
    sequences = sample_beyond(
        tables.read_parquet(snakemake.input.tokens),
        json.loads(upstream["prefix"]),
        params.length,
        params.taken,
        params.calibration,
        params.seed,
    )
    device = choose_device(params.device)
    model = load_model(record["folder"], params.dtype, device, params.random_seed)
    layouts = probe_layouts(model)
    tokens = np.array(sequences["tokens"].to_pylist(), dtype=np.int32)
    forms = calibrate_model(model, layouts, tokens, batch=params.batch)
    if still := sorted(set(layouts) - {layer for _, layer in forms}):
        log.warning("layers %s rotate nothing (NoPE): surgery leaves them as they are", still)
    upstream = upstream | {"model": snakemake.wildcards.model}
    upstream["revision"] += "" if params.random_seed is None else f" random weights, seed {params.random_seed}"
    metadata = provenance.describe(params, upstream)
    tables.write_parquet(snakemake.output.sequences, sequences, tables.SEQUENCES, metadata)
    tables.write_parquet(snakemake.output.parameters, additive.to_table(forms), tables.CALIBRATION, metadata)
