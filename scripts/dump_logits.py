"""Write the logit matrices of one shard, or of its first sequence: one row group a (sequence, layer)."""

from triaxis import provenance, rope, tables
from triaxis.faults import reporting
from triaxis.features import read_features
from triaxis.logits import dump_logits, writer

with reporting(snakemake.log[0]):
    params = snakemake.params
    rotaries = rope.from_table(tables.read_parquet(snakemake.input.rope))
    metadata = provenance.describe(params, tables.read_metadata(snakemake.input.features))
    layers = read_features(snakemake.input.features, first_alone=params.first_alone)
    heads = None if params.heads == "all" else params.heads
    with writer(snakemake.output[0], metadata) as parquet:
        for table in dump_logits(layers, rotaries, heads):
            parquet.write_table(table, row_group_size=len(table))
