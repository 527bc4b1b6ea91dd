"""Calibrate the additive logits of a model on sequences that nothing else reads."""

import numpy as np
import torch

from triaxis.attention.layout import probe_layouts
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.model.loading import open_model, revision_of
from triaxis.surgery import additive
from triaxis.surgery.calibrate import calibrate_model
from triaxis.surgery.schema import CALIBRATION
from triaxis.text.schema import SEQUENCES
from triaxis.text.windows import Prefix, sample_beyond

with reporting(snakemake.log[0]) as log:
    params = snakemake.params
    torch.set_num_threads(snakemake.threads)
    upstream = parquet.read_metadata(snakemake.input.tokens)
    sequences = sample_beyond(
        parquet.read_parquet(snakemake.input.tokens),
        Prefix.of(upstream),
        params.length,
        params.taken,
        params.calibration + params.selection,
        params.seed,
    )
    model = open_model(snakemake.input.record, params, params.random_seed)
    layouts = probe_layouts(model)
    # The rest is for choosing among the forms.
    tokens = np.array(sequences["tokens"].to_pylist(), dtype=np.int32)[: params.calibration]
    forms = calibrate_model(model, layouts, tokens, batch_tokens=params.batch_tokens)
    if still := sorted(set(layouts) - {layer for _, layer in forms}):
        log.warning("layers %s rotate nothing (NoPE): surgery leaves them as they are", still)
    upstream |= {"model": snakemake.wildcards.model, "revision": revision_of(upstream, params.random_seed)}
    metadata = provenance.describe(params, upstream)
    parquet.write_parquet(snakemake.output.sequences, sequences, SEQUENCES, metadata)
    parquet.write_parquet(snakemake.output.parameters, additive.to_table(forms), CALIBRATION, metadata)
