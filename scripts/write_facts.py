"""Write what README.md and docs/ say was measured, from the tables in docs/results/: `make docs`.

`write_facts.py RESULTS` copies the tables of the run in RESULTS there first.
"""

import sys
from pathlib import Path

from triaxis.base import files
from triaxis.base.errors import UserError
from triaxis.report.facts import BLOCK, Facts, copy_figure, copy_run

PROJECT = Path(__file__).resolve().parents[1]
TABLES, TEMPLATES = PROJECT / "docs/results", PROJECT / "report/facts"


def pages() -> list[Path]:
    """README.md and every page of docs/."""
    return [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]


def write(results: Path | None) -> None:
    """Fill the blocks of every page; results: the folder of a run whose tables are copied first."""
    if results is not None:
        copy_run(results, TABLES)
        copy_figure(results / "figures/heads.png", PROJECT / "docs/heads.png")
    facts = Facts(TABLES, TEMPLATES)
    for page in pages():
        text = page.read_text()
        if BLOCK.search(text):
            with files.whole(page) as part:
                part.write_text(facts.fill(text))


if __name__ == "__main__":
    try:
        write(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    except UserError as error:
        sys.exit(f"ERROR: {error}")
