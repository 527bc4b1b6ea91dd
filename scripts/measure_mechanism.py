"""Measure the mechanism in one shard's queries and keys: on a grid of dummy distances, as whole matrices, pair by pair,
and as related papers do."""

from functools import partial

from triaxis.attention import rope_file
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.fit import axes
from triaxis.mechanism import additivity, complex_form, dummy_distance, patterns, related
from triaxis.mechanism.schema import ADDITIVITY, DUMMIES, PATTERNS, RELATED

with reporting(snakemake.log[0]):
    params, outputs, path = snakemake.params, snakemake.output, snakemake.input.features
    rotaries = rope_file.from_table(parquet.read_parquet(snakemake.input.rope))
    length = complex_form.sequence_length(path)
    grid = additivity.make_grid(length, **params.grid)
    design = axes.Design(length)
    metadata = provenance.describe(params, parquet.read_metadata(path))
    for measure, output, schema in (
        (partial(additivity.measure_additivity, grid=grid), outputs.additivity, ADDITIVITY),
        (partial(dummy_distance.fit_layer, distances=grid.distances, design=design), outputs.dummies, DUMMIES),
        (patterns.measure_layer, outputs.patterns, PATTERNS),
        (related.relate_layer, outputs.related, RELATED),
    ):
        rows = (measure(layer, rotaries[layer.layer]) for layer in complex_form.read_layers(path, rotaries))
        parquet.write_parquet(output, parquet.batched(rows), schema, metadata)
