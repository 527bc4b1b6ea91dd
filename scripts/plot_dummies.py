"""Figure: the key component against the dummy distance."""

from triaxis.base.errors import reporting
from triaxis.mechanism import figures, summary
from triaxis.report import style

with reporting(snakemake.log[0]):
    curves = summary.dummies_of(snakemake.input[0])
    style.save(figures.plot_dummies(curves, snakemake.params.models), snakemake.output)
