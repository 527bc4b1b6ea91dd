"""Measure the pattern in one shard's queries and keys, pair by pair, and what related papers measure."""

from triaxis import mechanism, patterns, provenance, related, rope, tables
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    path = snakemake.input.features
    rotaries = rope.from_table(tables.read_parquet(snakemake.input.rope))
    metadata = provenance.describe(snakemake.params, tables.read_metadata(path))
    for measure, output, schema in (
        (patterns.measure_layer, snakemake.output.patterns, tables.PATTERNS),
        (related.relate_layer, snakemake.output.related, tables.RELATED),
    ):
        rows = (measure(layer, rotaries[layer.layer]) for layer in mechanism.read_layers(path, rotaries))
        tables.write_parquet(output, tables.batched(rows), schema, metadata)
