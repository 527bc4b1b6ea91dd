"""Give one checkpoint of a model that was trained here the record of a model that was fetched."""

import json
from pathlib import Path

from triaxis.base import files
from triaxis.base.errors import reporting
from triaxis.base.names import checkpoint_of
from triaxis.text import sources

with reporting(snakemake.log[0]):
    series, step = snakemake.wildcards.series, snakemake.wildcards.step
    record = json.loads(Path(snakemake.input.trained).read_text())[step]
    sources.verify(record)
    own = {
        "source": f"train:{checkpoint_of(series, int(step))}",
        "kind": "train",
        "training": snakemake.params.training,
    }
    files.write_json(snakemake.output[0], record | own)
