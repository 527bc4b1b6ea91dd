"""Measure what a checkpoint loses with words displaced, and past its training length."""

import json
from pathlib import Path

import torch

from triaxis.base import parquet
from triaxis.base.errors import reporting
from triaxis.model.loading import open_model, run_metadata, training_length_of
from triaxis.model.published import read_config
from triaxis.text import joined, windows
from triaxis.tolerance import displacement
from triaxis.training.flexibility import displaced_losses, long_losses, to_table
from triaxis.training.schema import FLEXIBILITY

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    torch.set_num_threads(snakemake.threads)
    model = open_model(inputs.record, params, params.random_seed)
    rows = []
    for sequences, displaced in zip(inputs.sequences, inputs.displacements, strict=True):
        drawn = displacement.from_table(parquet.read_parquet(displaced), params.seed)
        moved = {number: own for (number, fraction), own in drawn.items() if fraction == params.fraction}
        numbers, tokens = windows.read_sequences(sequences)
        rows += displaced_losses(model, tokens[: len(moved)], numbers[: len(moved)], moved)
    if inputs.joined:
        folder = json.loads(Path(inputs.record).read_text())["folder"]
        own_length = params.training_length or training_length_of(read_config(folder))
        rows += long_losses(model, joined.read_joined(inputs.joined[0]), own_length)
    metadata = run_metadata(params, parquet.read_metadata(inputs.sequences[0]))
    parquet.write_parquet(snakemake.output[0], to_table(rows), FLEXIBILITY, metadata)
