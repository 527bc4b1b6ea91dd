"""The tables of tolerance head by head: what each head costs, and how well each predictor ranks them."""

from triaxis.base import files, tables
from triaxis.base.errors import reporting
from triaxis.tolerance import summary

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, snakemake.input
    costs = summary.costs_by_head(inputs.heads, inputs.predictors)
    ranks = summary.predictions(costs, params.samples, params.seed)
    for path, content in ((snakemake.output.heads, costs), (snakemake.output.csv, ranks)):
        with files.whole(path) as part:
            part.write_text(tables.to_csv(content))
