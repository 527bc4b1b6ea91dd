"""Tokenise every document, once for each tokenizer."""

import json
from pathlib import Path

from triaxis import provenance, sources, tables
from triaxis.faults import reporting
from triaxis.models import load_tokenizer
from triaxis.sampling import prefix_tokens, tokenize

with reporting(snakemake.log[0]):
    record = json.loads(Path(snakemake.input.record).read_text())
    sources.verify(record)
    tokenizer = load_tokenizer(record["folder"])
    documents = tables.read_parquet(snakemake.input.documents)
    upstream = tables.read_metadata(snakemake.input.documents)
    upstream |= {"model": snakemake.wildcards.base, "revision": record["revision"]}
    metadata = provenance.describe(snakemake.params, upstream)
    metadata["prefix"] = json.dumps(prefix_tokens(tokenizer))
    tables.write_parquet(snakemake.output[0], tokenize(documents, tokenizer), tables.TOKENS, metadata)
