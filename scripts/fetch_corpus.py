"""Fetch the corpus, verify it, and leave a record of its files."""

from pathlib import Path

from triaxis.base import files
from triaxis.base.errors import reporting
from triaxis.base.source_text import parse_source
from triaxis.text import sources

with reporting(snakemake.log[0]):
    params = snakemake.params
    source = parse_source(params.source)
    record = sources.fetch_corpus_files(source, params.sha256, params.lock, Path(snakemake.output[0]).with_suffix(""))
    files.write_json(snakemake.output[0], record)
