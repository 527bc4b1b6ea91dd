"""Print what a run gave and where the rest is: the last word of `make run`. No rule: it reads results/ as it is."""

import json
from pathlib import Path

from triaxis.base import tables
from triaxis.report import printed

TABLES = Path("results/tables")

manifest = json.loads(Path("results/manifest.json").read_text())
sequences = manifest["config"]["sequences"]
headline = tables.from_csv(TABLES / "headline.csv")
# A table of an earlier run may lie beside those of this one: the manifest has this one's.
named = [*printed.FACTS, *printed.TABLES]
made = {
    name: tables.from_csv(TABLES / f"{name}.csv") for name in named if f"{TABLES}/{name}.csv" in manifest["artefacts"]
}

lines = printed.headline_lines(headline, sequences["count"], sequences["length"])
facts = printed.experiment_lines(made)
lines += ["", *facts] if facts else []
lines += [line for name, table in printed.TABLES.items() if name in made for line in table(made[name])]
lines += ["", "Explorer  results/explorer.html", "Report    results/report.html"]
lines += ["Paper     results/paper.pdf", "Manifest  results/manifest.json"]
lines += ["Query     results/triaxis.duckdb, for example:", printed.QUERY]
print("\n" + "\n".join(lines))
