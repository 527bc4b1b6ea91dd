"""The headline table: each model's full fit beside how additive its logits are, as CSV and as LaTeX."""

from triaxis import files, summary
from triaxis.faults import reporting

with reporting(snakemake.log[0]):
    rows = [row for row in summary.from_csv(snakemake.input.axes) if row["axes"] == "distance+query+key"]
    mechanism = {row["model"]: row for path in snakemake.input.mechanism for row in summary.from_csv(path)}
    headline = summary.headline(rows, mechanism)
    for path, content in ((snakemake.output.csv, summary.to_csv), (snakemake.output.tex, summary.to_tex)):
        with files.whole(path) as part:
            part.write_text(content(headline))
