"""Measure the mechanism in one shard's queries and keys: on a grid of dummy distances, as whole matrices, pair by pair,
and as related papers do."""

from functools import partial

import numpy as np

from triaxis import axes, dummies, mechanism, patterns, provenance, related, rope, tables
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    params, outputs, path = snakemake.params, snakemake.output, snakemake.input.features
    rotaries = rope.from_table(tables.read_parquet(snakemake.input.rope))
    length = mechanism.sequence_length(path)
    grid = mechanism.make_grid(length, **params.grid)
    design = axes.Design(np.tril(np.ones((length, length), dtype=bool)))
    metadata = provenance.describe(params, tables.read_metadata(path))
    for measure, output, schema in (
        (partial(mechanism.probe_layer, grid=grid), outputs.probes, tables.PROBES),
        (partial(dummies.fit_layer, distances=grid.distances, design=design), outputs.dummies, tables.DUMMIES),
        (patterns.measure_layer, outputs.patterns, tables.PATTERNS),
        (related.relate_layer, outputs.related, tables.RELATED),
    ):
        rows = (measure(layer, rotaries[layer.layer]) for layer in mechanism.read_layers(path, rotaries))
        tables.write_parquet(output, tables.batched(rows), schema, metadata)
