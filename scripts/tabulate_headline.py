"""The headline table: each model's full fit beside how additive its logits are, as CSV and as LaTeX."""

from triaxis.base import files, tables
from triaxis.base.errors import reporting
from triaxis.fit import summary
from triaxis.fit.combinations import FULL

with reporting(snakemake.log[0]):
    rows = [row for row in tables.from_csv(snakemake.input.axes) if row["axes"] == FULL]
    mechanism = {row["model"]: row for path in snakemake.input.mechanism for row in tables.from_csv(path)}
    headline = summary.headline(rows, mechanism, snakemake.params.rotary)
    for path, content in ((snakemake.output.csv, tables.to_csv), (snakemake.output.tex, summary.to_tex)):
        with files.whole(path) as part:
            part.write_text(content(headline))
