"""docs/reliability.md, held to what the tests see: what was tried, and what happened."""

from pathlib import Path

TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "reliability.md"
HEAD = "| tried | what happened |\n|---|---|\n"


def read_rows() -> dict[str, str]:
    """tried -> what happened, as the page says."""
    table = PAGE.read_text().partition(HEAD)[2].partition("\n\n")[0]
    cells = [line.strip("| ").partition(" | ") for line in table.splitlines() if line.startswith("|")]
    return {tried: happened for tried, _, happened in cells}


def known(tried: str) -> bool:
    """Whether a test still holds this text."""
    return any(f'"{tried}"' in file.read_text() for file in TESTS.rglob("test_*.py"))


class Outcomes:
    """What the tests of one session saw. Neither text may hold a number that another run would not give."""

    def __init__(self, *, write: bool) -> None:
        """write: collect for `save`; otherwise each outcome must be what the page says."""
        self.write = write
        self.rows: dict[str, str] = {}

    def record(self, tried: str, happened: str) -> None:
        """Call at the end of a test that saw `happened` after it did `tried`."""
        self.rows[tried] = happened
        if not self.write:
            assert read_rows().get(tried) == happened, f"docs/reliability.md does not say so: {tried}; make reliability"

    def save(self) -> None:
        """Put the rows into the page; those of tests that did not run stay, those of no test go."""
        kept = {tried: happened for tried, happened in read_rows().items() if known(tried)}
        table = "".join(f"| {tried} | {happened} |\n" for tried, happened in sorted((kept | self.rows).items()))
        before, _, rest = PAGE.read_text().partition(HEAD)
        PAGE.write_text(before + HEAD + table + "\n" + rest.partition("\n\n")[2])
