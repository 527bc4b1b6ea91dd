"""Probe one shard with dummy distances: query by query on a grid, and as whole matrices."""

import numpy as np

from triaxis import axes, dummies, mechanism, provenance, rope, tables
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    params, path = snakemake.params, snakemake.input.features
    rotaries = rope.from_table(tables.read_parquet(snakemake.input.rope))
    length = mechanism.sequence_length(path)
    grid = mechanism.make_grid(length, **params.grid)
    design = axes.Design(np.tril(np.ones((length, length), dtype=bool)))
    probes = (
        mechanism.probe_layer(layer, rotaries[layer.layer], grid) for layer in mechanism.read_layers(path, rotaries)
    )
    matrices = (
        dummies.fit_layer(layer, rotaries[layer.layer], grid.distances, design)
        for layer in mechanism.read_layers(path, rotaries)
    )
    metadata = provenance.describe(params, tables.read_metadata(path))
    tables.write_parquet(snakemake.output.probes, tables.batched(probes), tables.PROBES, metadata)
    tables.write_parquet(snakemake.output.dummies, tables.batched(matrices), tables.DUMMIES, metadata)
