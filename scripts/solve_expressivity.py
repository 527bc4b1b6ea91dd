"""The table of expressivity: how near random functions of distance each model's frequencies come."""

from triaxis import files, rope, summary, tables
from triaxis.expressivity import solve_layers
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    params = snakemake.params
    rows = []
    for model, path in zip(params.models, snakemake.input, strict=True):
        rows += solve_layers(model, rope.from_table(tables.read_parquet(path)), params.length)
    with files.whole(snakemake.output[0]) as part:
        part.write_text(summary.to_csv(rows))
