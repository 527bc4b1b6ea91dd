"""Run the model over one shard of sequences and stream its queries and keys before RoPE to Parquet."""

import json
from pathlib import Path

import numpy as np
import torch
import transformers

from triaxis import features, provenance, rope, sources, tables
from triaxis.capture import probe_layouts
from triaxis.extract import extract_features
from triaxis.faults import reporting
from triaxis.models import choose_device, describe_device, load_model

with reporting(snakemake.log[0]) as log:
    params, options = snakemake.params, snakemake.params.features
    torch.set_num_threads(snakemake.threads)
    record = json.loads(Path(snakemake.input.record).read_text())
    sources.verify(record)
    sequences = tables.read_parquet(snakemake.input.sequences)
    tokens = np.array(sequences["tokens"].to_pylist(), dtype=np.int32)
    device = choose_device(options["device"])
    model = load_model(record["folder"], options["dtype"], device, params.random_seed)
    upstream = tables.read_metadata(snakemake.input.sequences)
    upstream["revision"] += "" if params.random_seed is None else f" random weights, seed {params.random_seed}"
    metadata = provenance.describe(params, upstream) | {
        "device": describe_device(device),
        "dtype": options["dtype"],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    layouts = probe_layouts(model)
    with features.writer(snakemake.output.features, layouts[min(layouts)].head_dim, metadata) as parquet:
        rotaries, errors = extract_features(
            model,
            layouts,
            tokens,
            sequences["sequence"].to_pylist(),
            None if options["layers"] == "all" else options["layers"],
            batch=options["batch"],
            tolerance=options["tolerance"],
            write=lambda layer: parquet.write_table(features.to_table(layer)),
        )
    log.info("logits rebuilt from the features agree with the model's own to %.1e", max(errors.values()))
    layers = sorted(rotaries)
    table = rope.to_table(layers, [rotaries[n] for n in layers], [errors[n] for n in layers])
    tables.write_parquet(snakemake.output.rope, table, tables.ROPE, metadata)
