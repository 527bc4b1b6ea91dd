"""results/paper.pdf: the run as a paper, set by Typst from what lies in results/."""

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import typst

from triaxis.base import files
from triaxis.base.errors import UserError


def require_tables(tables: Iterable[Path]) -> None:
    """Raise UserError, one line, for a table that is missing or has no header."""
    for table in tables:
        if not table.is_file() or not table.read_text().strip():
            raise UserError(
                f"{table} is {'empty' if table.is_file() else 'missing'}: the paper is set from it; remove it if it is "
                "there, and run again"
            )


def set_paper(sources: Path, results: Mapping[str, Path], facts: Path, target: Path) -> None:
    """Set `sources`/paper.typ as the PDF `target`, the same bytes from the same inputs.

    results: name below the run's folder, results/tables/axes.csv -> where that file is; facts: what becomes
    results/paper.json. Typst sees nothing but these and `sources`: no table of an earlier run, no font of this machine.
    Raises UserError, one line, if Typst refuses the sources.
    """
    with TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(sources, root / "paper")
        for name, file in {**results, "results/paper.json": facts}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, root / name)
        try:
            pdf = typst.compile(root / "paper/paper.typ", root=root, format="pdf", ignore_system_fonts=True)
        except typst.TypstError as error:
            raise UserError(f"the paper cannot be set: {error.message}{_place(error.diagnostic)}") from error
    with files.whole(target) as part:
        part.write_bytes(pdf)


def _place(diagnostic: str) -> str:
    """Where Typst met a fault, as `, at paper/sections/fit.typ:3:5`."""
    found = re.search(r"(paper/\S+:\d+:\d+)", diagnostic)
    return f", at {found[1]}" if found else ""
