"""Sum the logits of one shard over each axis, with DuckDB, in one scan a length."""

from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.fit.groups import draw_groups
from triaxis.fit.schema import SUMS
from triaxis.fit.sums import sum_logits

with reporting(snakemake.log[0]):
    params = snakemake.params
    rows = (
        batch
        for length in params.lengths
        for batch in sum_logits(
            snakemake.input,
            draw_groups(length, params.heldout_seed),
            threads=snakemake.threads,
            memory_mb=snakemake.resources.mem_mb - 512,
            spill=snakemake.resources.tmpdir,
        )
    )
    metadata = provenance.describe(params, parquet.read_metadata(snakemake.input[0]))
    parquet.write_parquet(snakemake.output[0], rows, SUMS, metadata)
