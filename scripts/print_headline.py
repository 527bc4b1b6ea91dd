"""Print what a run gave and where the rest is: the last word of `make run`. No rule: it reads results/ as it is.

An argument names the folder of the run, if it is not this one.
"""

import json
import sys
from pathlib import Path

from triaxis.base import tables
from triaxis.report import printed

RESULTS = Path(*sys.argv[1:], "results")
TABLES = RESULTS / "tables"

manifest = json.loads((RESULTS / "manifest.json").read_text())
sequences = manifest["config"]["sequences"]
headline = tables.from_csv(TABLES / "headline.csv")
# A table of an earlier run may lie beside those of this one: the manifest has this one's.
named = [*printed.FACTS, *printed.TABLES]
made = {
    name: tables.from_csv(TABLES / f"{name}.csv")
    for name in named
    if f"results/tables/{name}.csv" in manifest["artefacts"]
}

lines = printed.headline_lines(headline, sequences["count"], sequences["length"])
facts = printed.experiment_lines(made)
lines += ["", *facts] if facts else []
lines += [line for name, table in printed.TABLES.items() if name in made for line in table(made[name])]
lines += ["", f"Explorer  {RESULTS}/explorer.html", f"Report    {RESULTS}/report.html"]
lines += [f"Paper     {RESULTS}/paper.pdf", f"Manifest  {RESULTS}/manifest.json"]
lines += [f"Query     {RESULTS}/triaxis.duckdb, for example:", printed.query(f"{RESULTS}/triaxis.duckdb")]
print("\n" + "\n".join(lines))
