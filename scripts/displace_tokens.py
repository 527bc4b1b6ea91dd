"""Choose which words, or tokens, of each sequence swap at every fraction: once, for all perturbations and models."""

import json
from pathlib import Path

import numpy as np

from triaxis.base import parquet, provenance
from triaxis.base.errors import UserError, reporting
from triaxis.model.tokenizer import load_tokenizer
from triaxis.text import sources
from triaxis.text.offsets import encode
from triaxis.text.tokens import prefix_tokens
from triaxis.tolerance import displacement
from triaxis.tolerance.schema import DISPLACEMENTS

with reporting(snakemake.log[0]) as log:
    params = snakemake.params
    record = json.loads(Path(snakemake.input.record).read_text())
    sources.verify(record)
    tokenizer = load_tokenizer(record["folder"])
    prefix = len(prefix_tokens(tokenizer))
    sequences = parquet.read_parquet(snakemake.input.sequences)
    documents = parquet.read_parquet(snakemake.input.documents, ["document", "text"])
    texts = dict(zip(documents["document"].to_pylist(), documents["text"].to_pylist(), strict=True))
    displacements = {}
    for row in sequences.slice(0, params.taken).to_pylist():
        units = displacement.token_units(row["length"], prefix)
        if params.unit == "word":
            text = texts[row["document"]]
            _, offsets = encode(tokenizer, text)
            words = displacement.word_units(text, offsets[row["offset"] : row["offset"] + row["length"] - prefix])
            units = np.concatenate([np.full(prefix, displacement.STAYS), words])
        for fraction in params.fractions:
            seed = (params.seed, row["sequence"])
            try:
                displacements[row["sequence"], fraction] = displacement.displace(units, fraction, params.window, seed)
            except UserError as error:
                raise UserError(f"sequence {row['sequence']}, document {row['document']}: {error}") from None
    metadata = provenance.describe(params, parquet.read_metadata(snakemake.input.sequences))
    rows = displacement.to_table(displacements)
    parquet.write_parquet(snakemake.output[0], rows, DISPLACEMENTS, metadata)
