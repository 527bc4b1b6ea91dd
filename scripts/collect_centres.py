"""Collect the centres of a model's queries and keys, over all of its sequences."""

import json
from itertools import chain
from pathlib import Path

from triaxis.attention import rope_file
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.heads.centres import centres, describe, write_centres
from triaxis.mechanism.layers import read_layers

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    rotaries = rope_file.from_table(parquet.read_parquet(inputs.rope))
    layers = chain.from_iterable(read_layers(path, rotaries) for path in inputs.features)
    upstream = parquet.read_metadata(inputs.features[0])
    record, corpus = (json.loads(Path(path).read_text()) for path in (inputs.record, inputs.corpus))
    made = upstream | provenance.describe(params, upstream)
    write_centres(
        snakemake.output[0],
        centres(layers, rotaries),
        describe(made, record, corpus, params.sequences, params.length),
    )
