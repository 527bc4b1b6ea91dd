"""Sum the logits of one shard over each axis, with DuckDB, in one scan."""

from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.fit.axes import draw_half
from triaxis.fit.schema import SUMS
from triaxis.fit.sums import sum_logits

with reporting(snakemake.log[0]):
    params = snakemake.params
    rows = sum_logits(
        snakemake.input,
        draw_half(params.length, params.half_seed),
        threads=snakemake.threads,
        memory_mb=snakemake.resources.mem_mb - 512,
        spill=snakemake.resources.tmpdir,
    )
    metadata = provenance.describe(params, parquet.read_metadata(snakemake.input[0]))
    parquet.write_parquet(snakemake.output[0], rows, SUMS, metadata)
