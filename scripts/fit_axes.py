"""Fit the three axes, and each combination of them, to every logit matrix of one shard, from its sums."""

import torch

from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.fit.axes import designs
from triaxis.fit.fits_file import write_fits
from triaxis.fit.sums_file import read_sums

with reporting(snakemake.log[0]) as log, torch.inference_mode():
    params, path = snakemake.params, snakemake.input[0]
    torch.set_num_threads(snakemake.threads)
    by_length = {length: designs(length, params.heldout_seed) for length in params.lengths}
    summed = (part for own in by_length.values() for part in read_sums(path, *own))
    metadata = provenance.describe(params, parquet.read_metadata(path))
    write_fits(summed, by_length, snakemake.output.fits, snakemake.output.components, metadata, log)
