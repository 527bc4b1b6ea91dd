"""Fit the three axes, and each combination of them, to every logit matrix of one shard, straight from its features."""

import torch

from triaxis.attention import rope_file
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.fit.axes import Design, device_with_doubles
from triaxis.fit.fits_file import write_fits
from triaxis.fit.from_features import sum_features
from triaxis.fit.groups import draw_groups
from triaxis.fit.summed import in_batches, require_finite
from triaxis.logits.features_file import read_features
from triaxis.model.devices import choose_device

with reporting(snakemake.log[0]) as log, torch.inference_mode():
    params, path = snakemake.params, snakemake.input.features
    torch.set_num_threads(snakemake.threads)
    # One device does: any will, of a model that is spread over several.
    device = device_with_doubles(choose_device(params.device if params.device != "spread" else "auto"))
    groups = {length: draw_groups(length, params.heldout_seed) for length in params.lengths}
    designs = {length: (Design(length, device=device), Design(length, own, device)) for length, own in groups.items()}
    summed = sum_features(
        read_features(path),
        rope_file.from_table(parquet.read_parquet(snakemake.input.rope)),
        None if params.heads == "all" else params.heads,
        groups,
        device,
    )
    batches = (require_finite(part, path) for part in in_batches(summed))
    metadata = provenance.describe(params, parquet.read_metadata(path))
    write_fits(batches, designs, snakemake.output.fits, snakemake.output.components, metadata, log)
