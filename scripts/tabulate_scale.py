"""The table of many models: what was found of each, beside how many parameters it has."""

import json
from pathlib import Path

from triaxis.base import files, tables
from triaxis.base.errors import reporting
from triaxis.fit import summary
from triaxis.fit.combinations import FULL
from triaxis.model.published import read_config
from triaxis.model.size import parameters_of

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    folders = [json.loads(Path(record).read_text())["folder"] for record in inputs.records]
    parameters = {
        base: parameters_of(read_config(folder))
        for base, folder in zip(dict.fromkeys(params.bases.values()), folders, strict=True)
    }
    fits = [row for row in tables.from_csv(inputs.axes) if row["axes"] == FULL]
    mechanism = {row["model"]: row for path in inputs.mechanism for row in tables.from_csv(path)}
    rows = summary.scale(fits, mechanism, {model: parameters[base] for model, base in params.bases.items()})
    with files.whole(snakemake.output[0]) as part:
        part.write_text(tables.to_csv(rows))
