"""Read the corpus into a table of documents."""

import json
from pathlib import Path

from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.text import sources
from triaxis.text.documents import read_documents
from triaxis.text.schema import DOCUMENTS

with reporting(snakemake.log[0]) as log:
    params = snakemake.params
    record = json.loads(Path(snakemake.input[0]).read_text())
    sources.verify(record)
    files = [Path(record["folder"]) / name for name in record["files"]]
    documents = read_documents(files, params.format, params.text, params.title)
    log.info("%d documents", len(documents))
    metadata = provenance.describe(params, {"revision": record["revision"]})
    parquet.write_parquet(snakemake.output[0], documents, DOCUMENTS, metadata)
