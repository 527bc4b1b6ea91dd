"""The table of the first tokens' fits: each model's full fit against how many tokens of a sequence are taken."""

import json
from contextlib import suppress
from pathlib import Path

from triaxis.base import files, tables
from triaxis.base.errors import UserError, reporting
from triaxis.fit import summary
from triaxis.model.loading import training_length_of
from triaxis.model.published import read_config

with reporting(snakemake.log[0]):
    params = snakemake.params
    lengths = {}
    for base, record in zip(dict.fromkeys(params.bases.values()), snakemake.input.records, strict=True):
        lengths[base] = params.training_length or float("nan")
        if not params.training_length:
            with suppress(UserError):  # a model that does not say it
                lengths[base] = training_length_of(read_config(json.loads(Path(record).read_text())["folder"]))
    rows = summary.fits_by_prefix(
        summary.by_sequence(snakemake.input.fits),
        list(params.bases),
        [row for path in snakemake.input.additive for row in tables.from_csv(path)],
        {model: lengths[base] for model, base in params.bases.items()},
        params.samples,
        params.seed,
    )
    with files.whole(snakemake.output[0]) as part:
        part.write_text(tables.to_csv(rows))
