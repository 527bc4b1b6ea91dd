"""Compare the attention outputs of all methods and lengths of a model with those within its training length."""

from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.length import drift
from triaxis.length.schema import CLOUDS, DISTANCES

with reporting(snakemake.log[0]):
    inputs, params = list(snakemake.input), snakemake.params
    upstream = parquet.read_metadata(inputs[0])
    training_length = int(upstream["training_length"])
    metadata = provenance.describe(params, upstream) | {
        key: upstream[key] for key in ("training_length", "training_length_is")
    }
    distances, clouds = [], []
    for layer in drift.layers_of(inputs[0]):
        found = {key: points for path in inputs for key, points in drift.read_points(path, layer).items()}
        for table, tablelist in zip(
            drift.compare_layer(found, layer, training_length, params.seed), (distances, clouds), strict=True
        ):
            tablelist.append(table)
    parquet.write_parquet(snakemake.output.distances, parquet.batched(distances), DISTANCES, metadata)
    parquet.write_parquet(snakemake.output.clouds, parquet.batched(clouds), CLOUDS, metadata)
