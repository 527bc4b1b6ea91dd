"""Write the logit matrices of one shard, or a sample of them: one row group a (sequence, layer)."""

from triaxis.attention import rope_file
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.logits.features_file import read_features
from triaxis.logits.logits import dump_logits, writer

with reporting(snakemake.log[0]):
    params = snakemake.params
    rotaries = rope_file.from_table(parquet.read_parquet(snakemake.input.rope))
    metadata = provenance.describe(params, parquet.read_metadata(snakemake.input.features))
    # A sample: the first sequence alone, thinned.
    layers = read_features(snakemake.input.features, first_alone=params.sample is not None)
    heads = None if params.heads == "all" else params.heads
    with writer(snakemake.output[0], metadata) as out:
        for table in dump_logits(layers, rotaries, heads, params.sample):
            out.write_table(table, row_group_size=len(table))
