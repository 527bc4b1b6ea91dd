"""Predict from f alone how much each head's logits change with the distances, and see how much they do."""

from triaxis.attention import rope_file
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.mechanism.layers import read_layers
from triaxis.tolerance import displacement, link
from triaxis.tolerance.schema import LINKS

with reporting(snakemake.log[0]):
    inputs, own = snakemake.input, {}
    rotaries = rope_file.from_table(parquet.read_parquet(inputs.rope))
    found = displacement.from_table(parquet.read_parquet(inputs.displacements), snakemake.params.seed)
    for (sequence, fraction), each in found.items():
        own.setdefault(sequence, {})[fraction] = each
    rows = (
        link.link_layer(layer, rotaries[layer.layer], own[layer.sequence])
        for layer in read_layers(inputs.features, rotaries)
        if layer.sequence in own
    )
    metadata = provenance.describe(snakemake.params, parquet.read_metadata(inputs.features))
    parquet.write_parquet(snakemake.output[0], parquet.batched(rows), LINKS, metadata)
