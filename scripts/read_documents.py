"""Read the corpus into a table of documents."""

import json
from pathlib import Path

from triaxis import provenance, sources, tables
from triaxis.documents import read_documents
from triaxis.faults import reporting

with reporting(snakemake.log[0]) as log:
    params = snakemake.params
    record = json.loads(Path(snakemake.input[0]).read_text())
    sources.verify(record)
    files = [Path(record["folder"]) / name for name in record["files"]]
    documents = read_documents(files, params.format, params.text, params.title)
    log.info("%d documents", len(documents))
    metadata = provenance.describe(params, {"revision": record["revision"]})
    tables.write_parquet(snakemake.output[0], documents, tables.DOCUMENTS, metadata)
