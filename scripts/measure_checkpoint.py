"""Measure what a checkpoint has learned: its losses on one shard of sequences, and where its heads look."""

import pyarrow as pa
import torch

from triaxis.attention import rope_file
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.logits.features_file import read_features
from triaxis.model.loading import open_model, run_metadata
from triaxis.text import windows
from triaxis.training.attention import look_back_of_layer
from triaxis.training.losses import token_losses
from triaxis.training.schema import CHECKPOINT_ATTENTION, CHECKPOINT_LOSSES

with reporting(snakemake.log[0]):
    params, inputs, outputs = snakemake.params, snakemake.input, snakemake.output
    torch.set_num_threads(snakemake.threads)
    numbers, tokens = windows.read_sequences(inputs.sequences)
    model = open_model(inputs.record, params, params.random_seed)
    metadata = run_metadata(params, parquet.read_metadata(inputs.sequences))
    losses = pa.concat_tables(token_losses(model, tokens, numbers))
    parquet.write_parquet(outputs.losses, losses, CHECKPOINT_LOSSES, metadata)

    rotaries = rope_file.from_table(parquet.read_parquet(inputs.rope))
    rows = (look_back_of_layer(layer, rotaries[layer.layer]) for layer in read_features(inputs.features))
    metadata = provenance.describe(params, parquet.read_metadata(inputs.features))
    parquet.write_parquet(outputs.attention, parquet.batched(rows), CHECKPOINT_ATTENTION, metadata)
