"""Run the model over one shard of sequences and stream its queries and keys before RoPE to Parquet."""

import torch

from triaxis import features, rope, sampling, tables
from triaxis.capture import probe_layouts
from triaxis.extract import extract_features
from triaxis.faults import reporting
from triaxis.models import describe_run, open_model

with reporting(snakemake.log[0]) as log:
    params, options = snakemake.params, snakemake.params.features
    torch.set_num_threads(snakemake.threads)
    numbers, tokens = sampling.read_sequences(snakemake.input.sequences)
    model = open_model(snakemake.input.record, options, params.random_seed)
    metadata = describe_run(params, options, tables.read_metadata(snakemake.input.sequences))
    layouts = probe_layouts(model)
    with features.writer(snakemake.output.features, layouts[min(layouts)].head_dim, metadata) as parquet:
        rotaries, errors = extract_features(
            model,
            layouts,
            tokens,
            numbers,
            None if options["layers"] == "all" else options["layers"],
            batch=options["batch"],
            tolerance=options["tolerance"],
            write=lambda layer: parquet.write_table(features.to_table(layer)),
        )
    log.info("logits rebuilt from the features agree with the model's own to %.1e", max(errors.values()))
    layers = sorted(rotaries)
    table = rope.to_table(layers, [rotaries[n] for n in layers], [errors[n] for n in layers])
    tables.write_parquet(snakemake.output.rope, table, tables.ROPE, metadata)
