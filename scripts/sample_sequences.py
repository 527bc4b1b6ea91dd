"""Choose the sequences of one shard."""

from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.text.schema import SEQUENCES
from triaxis.text.windows import Prefix, sample_sequences

with reporting(snakemake.log[0]):
    params = snakemake.params
    upstream = parquet.read_metadata(snakemake.input[0])
    sequences = sample_sequences(
        parquet.read_parquet(snakemake.input[0]),
        Prefix.of(upstream),
        params.length,
        params.per_document,
        range(params.first, params.last),
        params.seed,
    )
    metadata = provenance.describe(params, upstream | {"model": snakemake.wildcards.model})
    parquet.write_parquet(snakemake.output[0], sequences, SEQUENCES, metadata)
