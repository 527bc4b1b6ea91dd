"""Draw one figure: the function of its name in its experiment's figures, on the rule's inputs and options."""

from importlib import import_module

from triaxis.base.errors import reporting
from triaxis.report import style

with reporting(snakemake.log[0]):
    params = snakemake.params
    draw = getattr(import_module(params.module), params.figure)
    figure = draw(**dict(snakemake.input.items()), **dict(snakemake.wildcards.items()), **params.options)
    style.save(figure, snakemake.output)
