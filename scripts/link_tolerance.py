"""Foretell from f alone how much each head's logits change with the distances, and see how much they do."""

from triaxis import displacement, mechanism, provenance, rope, tables, tolerance_link
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    inputs, own = snakemake.input, {}
    rotaries = rope.from_table(tables.read_parquet(inputs.rope))
    found = displacement.from_table(tables.read_parquet(inputs.displacements), snakemake.params.seed)
    for (sequence, fraction), each in found.items():
        own.setdefault(sequence, {})[fraction] = each
    rows = (
        tolerance_link.link_layer(layer, rotaries[layer.layer], own[layer.sequence])
        for layer in mechanism.read_layers(inputs.features, rotaries)
        if layer.sequence in own
    )
    metadata = provenance.describe(snakemake.params, tables.read_metadata(inputs.features))
    tables.write_parquet(snakemake.output[0], tables.batched(rows), tables.LINKS, metadata)
