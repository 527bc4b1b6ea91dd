"""The table of expressivity: how near random functions of distance each model's frequencies come."""

from triaxis.attention import rope_file
from triaxis.base import files, parquet, tables
from triaxis.base.errors import reporting
from triaxis.mechanism.expressivity import solve_layers

with reporting(snakemake.log[0]):
    params = snakemake.params
    rows = []
    for model, path in zip(params.models, snakemake.input, strict=True):
        rows += solve_layers(model, rope_file.from_table(parquet.read_parquet(path)), params.length)
    with files.whole(snakemake.output[0]) as part:
        part.write_text(tables.to_csv(rows))
