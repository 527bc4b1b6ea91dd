"""Write what README.md and docs/ say was measured, from the tables in docs/results/: `make facts`.

`write_facts.py RESULTS` copies the tables of the run in RESULTS there first, and `write_facts.py RESULTS FOLDER` to
FOLDER, another of those whose pages quote the tables beside them: docs/results/training and docs/results/long.
"""

import sys
from pathlib import Path

from triaxis.base import files
from triaxis.base.errors import UserError
from triaxis.report.facts import BLOCK, Facts, copy_file, copy_run

PROJECT = Path(__file__).resolve().parents[1]
TABLES, TEMPLATES = PROJECT / "docs/results", PROJECT / "report/facts"
# What else of a run the pages show or link to: folder of its tables -> file of results/ -> its copy.
COPIED = {
    TABLES: {"figures/heads.png": PROJECT / "docs/heads.png", "paper.pdf": TABLES / "paper.pdf"},
    TABLES / "long": {"figures/prefixes.png": TABLES / "long/prefixes.png"},
    TABLES / "training": {
        "figures/training-small.png": TABLES / "training/training.png",
        "figures/training_loss.png": TABLES / "training/loss.png",
        "figures/criteria.png": TABLES / "training/criteria.png",
        "figures/length_loss.png": TABLES / "training/length.png",
    },
}


def pages() -> list[Path]:
    """README.md and every page of docs/."""
    return [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]


def facts_of(page: Path) -> Facts:
    """The tables that a page quotes: those beside it, or else those of the default run."""
    beside = page.parent if (page.parent / "run.json").exists() else TABLES
    return Facts(beside, TEMPLATES)


def write(results: Path | None, folder: Path) -> None:
    """Fill the blocks of every page; results: the folder of a run whose tables are copied to `folder` first."""
    if results is not None:
        copy_run(results, folder)
        for file, copy in COPIED[folder].items():
            copy_file(results / file, copy)
    for page in pages():
        text = page.read_text()
        if BLOCK.search(text):
            with files.whole(page) as part:
                part.write_text(facts_of(page).fill(text))


if __name__ == "__main__":
    try:
        given = [Path(argument) for argument in sys.argv[1:]]
        write(given[0] if given else None, given[1].resolve() if len(given) > 1 else TABLES)
    except UserError as error:
        sys.exit(f"ERROR: {error}")
