"""Calibrate the additive logits of a model on sequences that nothing else reads."""

import json

import numpy as np
import torch

from triaxis import additive, provenance, tables
from triaxis.capture import probe_layouts
from triaxis.faults import reporting
from triaxis.models import open_model, revision_of
from triaxis.sampling import sample_beyond
from triaxis.surgery import calibrate_model

with reporting(snakemake.log[0]) as log:
    params = snakemake.params
    torch.set_num_threads(snakemake.threads)
    upstream = tables.read_metadata(snakemake.input.tokens)
    sequences = sample_beyond(
        tables.read_parquet(snakemake.input.tokens),
        json.loads(upstream["prefix"]),
        params.length,
        params.taken,
        params.calibration,
        params.seed,
    )
    model = open_model(snakemake.input.record, params, params.random_seed)
    layouts = probe_layouts(model)
    tokens = np.array(sequences["tokens"].to_pylist(), dtype=np.int32)
    forms = calibrate_model(model, layouts, tokens, batch=params.batch)
    if still := sorted(set(layouts) - {layer for _, layer in forms}):
        log.warning("layers %s rotate nothing (NoPE): surgery leaves them as they are", still)
    upstream |= {"model": snakemake.wildcards.model, "revision": revision_of(upstream, params.random_seed)}
    metadata = provenance.describe(params, upstream)
    tables.write_parquet(snakemake.output.sequences, sequences, tables.SEQUENCES, metadata)
    tables.write_parquet(snakemake.output.parameters, additive.to_table(forms), tables.CALIBRATION, metadata)
