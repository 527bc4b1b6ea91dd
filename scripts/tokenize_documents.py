"""Tokenise every document, once for each tokenizer."""

import json
from pathlib import Path

import pyarrow as pa

from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.model.tokenizer import embedding_rows, load_tokenizer
from triaxis.text import sources
from triaxis.text.prompts import as_ranges
from triaxis.text.schema import TOKENS
from triaxis.text.split import read_measured
from triaxis.text.tokens import count_lost, ordinary_tokens, prefix_tokens, require_rows, tokenize

with reporting(snakemake.log[0]) as log:
    record = json.loads(Path(snakemake.input.record).read_text())
    sources.verify(record)
    tokenizer = load_tokenizer(record["folder"])
    documents, upstream = read_measured(snakemake.input.documents, snakemake.input.split)
    prefix = prefix_tokens(tokenizer)
    tokens = pa.concat_tables(tokenize(documents, tokenizer)).cast(TOKENS)
    rows = embedding_rows(record["folder"])
    require_rows(tokens, prefix, rows, tokenizer)

    changed, lost = count_lost(documents, tokens, tokenizer)
    share = lost / sum(documents["characters"].to_pylist())
    if changed:
        log.warning(
            "the tokenizer does not give back %d of %d documents as they were: %.2g %% of the characters are lost",
            changed,
            len(documents),
            100 * share,
        )
    upstream |= {"model": snakemake.wildcards.base, "revision": record["revision"]}
    metadata = provenance.describe(snakemake.params, upstream)
    metadata |= {
        "prefix": json.dumps(prefix),
        "prefix_names": json.dumps(tokenizer.convert_ids_to_tokens(prefix)),
        "ordinary": json.dumps(as_ranges(ordinary_tokens(tokenizer, rows))),
        "documents_changed": str(changed),
        "characters_lost": str(lost),
        "share_lost": repr(share),
    }
    parquet.write_parquet(snakemake.output[0], tokens, TOKENS, metadata)
