"""Describe each head of a model: its measures over sequences, with intervals, and what it is called by them."""

from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.heads import by_sequence
from triaxis.heads.schema import HEADS
from triaxis.heads.summary import describe

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    stages = inputs.attention, inputs.fits, inputs.additivity, inputs.patterns
    rows = describe(
        by_sequence.values_of(*stages, params.length),
        by_sequence.scores_of([inputs.scores]),
        by_sequence.surgery_of(inputs.surgery, params.variant) if inputs.surgery else None,
        params.samples,
        params.seed,
    )
    metadata = provenance.describe(params, parquet.read_metadata(inputs.attention[0]))
    parquet.write_parquet(snakemake.output[0], rows, HEADS, metadata)
