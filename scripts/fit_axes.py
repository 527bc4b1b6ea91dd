"""Fit the three axes, and each combination of them, to every logit matrix of one shard."""

import numpy as np

from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.fit import axes
from triaxis.fit.schema import COMPONENTS, FITS
from triaxis.fit.sums import read_sums, to_components, to_fits

with reporting(snakemake.log[0]) as log:
    params = snakemake.params
    whole, half = axes.designs(params.length, params.half_seed)
    matrices, sums, half_sums = read_sums(snakemake.input[0], whole, half)
    fits = {name: axes.fit_axes(sums, half_sums, whole, half, name) for name in axes.COMBINATIONS}
    components = axes.fix_gauge(fits[axes.FULL].coefficients, whole.counts)
    constant = np.isnan(fits[axes.FULL].r)
    if constant.any():
        layers = sorted(set(matrices["layer"].to_numpy()[constant].tolist()))
        log.warning(
            "%d of %d logit matrices are constant and have no r, in layers %s: means leave them out",
            *(constant.sum(), len(constant), layers),
        )
    metadata = provenance.describe(params, parquet.read_metadata(snakemake.input[0]))
    parquet.write_parquet(snakemake.output.fits, to_fits(matrices, sums, fits), FITS, metadata)
    parquet.write_parquet(snakemake.output.components, to_components(matrices, components), COMPONENTS, metadata)
