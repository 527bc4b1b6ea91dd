"""The kinds of input in docs/reliability.md, held to what the tests see: kind, what was tried, what happened."""

from collections.abc import Callable
from pathlib import Path

import pytest

from outcomes import PAGE, known
from triaxis.base.errors import UserError

HEAD = "| kind | tried | what happened |\n|---|---|---|\n"


def read_kinds() -> dict[tuple[str, str], str]:
    """(kind, tried) -> what happened, as the page says."""
    table = PAGE.read_text().partition(HEAD)[2].partition("\n\n")[0]
    cells = [line.strip("| ").split(" | ", 2) for line in table.splitlines() if line.startswith("|")]
    return {(kind, tried): happened for kind, tried, happened in cells}


class Kinds:
    """What the tests of one session saw."""

    def __init__(self, *, write: bool) -> None:
        """write: collect for `save`; otherwise each row must be what the page says."""
        self.write = write
        self.rows: dict[tuple[str, str], str] = {}

    def saw(self, kind: str, tried: str, happened: str) -> None:
        """Call at the end of a test that saw `happened` of `tried`, an input of this kind."""
        self.rows[kind, tried] = happened
        if not self.write:
            assert read_kinds().get((kind, tried)) == happened, f"docs/reliability.md does not say so: {tried}"

    def refused(self, kind: str, tried: str, place: Path, call: Callable[[], object]) -> str:
        """The one line with which `call` ends, recorded; `place`, the folder of this test, is left out of it."""
        with pytest.raises(UserError) as caught:
            call()
        line = " ".join(str(caught.value).replace(f"{place}/", "").split())
        assert "trust_remote_code" not in line and len(line) < 450
        self.saw(kind, tried, line.replace("|", "/"))
        return line

    def save(self) -> None:
        """Put the rows into the page; those of tests that did not run stay, those of no test go."""
        kept = {row: happened for row, happened in read_kinds().items() if known(row[1])} | self.rows
        table = "".join(f"| {kind} | {tried} | {happened} |\n" for (kind, tried), happened in sorted(kept.items()))
        before, _, rest = PAGE.read_text().partition(HEAD)
        PAGE.write_text(before + HEAD + table + "\n" + rest.partition("\n\n")[2])
