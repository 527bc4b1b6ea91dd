"""Write down the commit that each hub source resolved to: the file that `lock` in the configuration names."""

import json
from pathlib import Path

from triaxis.base import files
from triaxis.base.errors import reporting

with reporting(snakemake.log[0]):
    records = [json.loads(Path(record).read_text()) for record in snakemake.input]
    pins = {record["source"]: record["revision"] for record in records if record["kind"] == "hub"}
    files.write_json(snakemake.output[0], pins)
