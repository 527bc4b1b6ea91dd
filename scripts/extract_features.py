"""Run the model over one shard of sequences and stream its queries and keys before RoPE to Parquet."""

import torch

from triaxis.attention import rope_file
from triaxis.attention.layout import probe_layouts
from triaxis.attention.schema import ROPE
from triaxis.base import parquet
from triaxis.base.errors import reporting
from triaxis.logits import features_file
from triaxis.logits.extract import extract_features
from triaxis.model.loading import open_model, run_metadata
from triaxis.text import windows

with reporting(snakemake.log[0]) as log:
    params, options = snakemake.params, snakemake.params.features
    torch.set_num_threads(snakemake.threads)
    numbers, tokens = windows.read_sequences(snakemake.input.sequences)
    model = open_model(snakemake.input.record, params, params.random_seed)
    metadata = run_metadata(params, parquet.read_metadata(snakemake.input.sequences))
    layouts = probe_layouts(model)
    with features_file.writer(snakemake.output.features, layouts[min(layouts)].head_dim, metadata) as out:
        rotaries, errors = extract_features(
            model,
            layouts,
            tokens,
            numbers,
            None if options["layers"] == "all" else options["layers"],
            batch_tokens=params.batch_tokens,
            tolerance=options["tolerance"],
            write=lambda layer: out.write_table(features_file.to_table(layer)),
        )
    log.info("logits rebuilt from the features agree with the model's own to %.1e", max(errors.values()))
    layers = sorted(rotaries)
    table = rope_file.to_table(layers, [rotaries[n] for n in layers], [errors[n] for n in layers])
    parquet.write_parquet(snakemake.output.rope, table, ROPE, metadata)
