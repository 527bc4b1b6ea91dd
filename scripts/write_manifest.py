"""Write manifest.json: commit, configuration, versions, sources, devices, and the digest of every artefact."""

import json
from pathlib import Path

from triaxis.base import files
from triaxis.base.errors import reporting
from triaxis.base.provenance import SCRIPTS
from triaxis.report.manifest import facts_of_run, manifest_of_run

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    records = {Path(path).stem: json.loads(Path(path).read_text()) for path in inputs.records}
    made = dict(zip(params.models, inputs.made, strict=True))
    tokens = dict(zip(params.bases, inputs.tokens, strict=True))
    # Artefacts are named from the folder that has results/ in it.
    root = Path(snakemake.output[0]).parents[1]
    facts = facts_of_run(SCRIPTS.parent, params.config, records, made, tokens)
    files.write_json(snakemake.output[0], manifest_of_run(facts, inputs.artefacts, root))
