"""Draw the documents that a model is not trained on, so that it can be measured on them."""

from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.text.split import SPLITS, split_documents

with reporting(snakemake.log[0]):
    params = snakemake.params
    documents = parquet.read_parquet(snakemake.input[0], ["document", "sha256"])
    split = split_documents(
        documents["document"].to_pylist(), documents["sha256"].to_pylist(), params.heldout, params.seed
    )
    upstream = parquet.read_metadata(snakemake.input[0]) | {"model": snakemake.wildcards.entry}
    parquet.write_parquet(snakemake.output[0], split, SPLITS, provenance.describe(params, upstream))
