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
    corpus = read_documents(files, params.format, params.text, params.title, params.csv)
    log.info("%d documents in %d files", len(corpus.documents), len(files))
    if corpus.empty:
        log.info("%d texts left out, which are empty", corpus.empty)
    if corpus.repeated:
        log.warning("%d documents have the text of one before them, and are read again", corpus.repeated)
    metadata = provenance.describe(params, {"revision": record["revision"]})
    parquet.write_parquet(snakemake.output[0], corpus.documents, DOCUMENTS, metadata)
