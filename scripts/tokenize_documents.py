"""Tokenise every document, once for each tokenizer."""

import json
from pathlib import Path

from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.model.tokenizer import load_tokenizer
from triaxis.text import sources
from triaxis.text.schema import TOKENS
from triaxis.text.tokens import prefix_tokens, tokenize

with reporting(snakemake.log[0]):
    record = json.loads(Path(snakemake.input.record).read_text())
    sources.verify(record)
    tokenizer = load_tokenizer(record["folder"])
    documents = parquet.read_parquet(snakemake.input.documents)
    upstream = parquet.read_metadata(snakemake.input.documents)
    upstream |= {"model": snakemake.wildcards.base, "revision": record["revision"]}
    metadata = provenance.describe(snakemake.params, upstream)
    metadata["prefix"] = json.dumps(prefix_tokens(tokenizer))
    parquet.write_parquet(snakemake.output[0], tokenize(documents, tokenizer), TOKENS, metadata)
