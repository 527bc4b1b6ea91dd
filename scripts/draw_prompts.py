"""Draw a model's prompts of random tokens, each of which comes twice."""

import json

from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.text.prompts import repeated_prompts
from triaxis.text.schema import SEQUENCES

with reporting(snakemake.log[0]):
    params = snakemake.params
    upstream = parquet.read_metadata(snakemake.input[0])
    ordinary, prefix = (json.loads(upstream[name]) for name in ("ordinary", "prefix"))
    prompts = repeated_prompts(ordinary, prefix, params.period, range(params.prompts), params.seed)
    metadata = provenance.describe(params, upstream | {"model": snakemake.wildcards.model})
    parquet.write_parquet(snakemake.output[0], prompts, SEQUENCES, metadata)
