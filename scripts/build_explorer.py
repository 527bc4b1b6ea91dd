"""Build the explorer: all heads of a run on one page, which needs no server and no network."""

from triaxis.base import files
from triaxis.base.errors import reporting
from triaxis.explorer.page import page
from triaxis.explorer.rows import Stages, notes, rows_of

with reporting(snakemake.log[0]):
    params, inputs = snakemake.params, iter(snakemake.input)
    models = {
        model: Stages(**{stage: [next(inputs) for _ in range(count)] for stage, count in stages.items()})
        for model, stages in params.stages.items()
    }
    data = rows_of(models, params.length, params.explorer)
    with files.whole(snakemake.output[0]) as part:
        part.write_text(page(data, "Triaxis explorer", notes(data, params.explorer)), encoding="utf-8")
