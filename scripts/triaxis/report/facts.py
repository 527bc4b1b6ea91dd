"""Numbers in prose, written from tables.

Between `<!-- facts: NAME -->` and `<!-- /facts -->` a page holds what report/facts/NAME.md makes of the tables in
docs/results/. These are a run's own, with six decimals, so that another machine's rounding changes no line.
"""

import csv
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill as wrapped
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound

from triaxis.base import files
from triaxis.base.errors import UserError
from triaxis.base.names import control_of
from triaxis.base.stats import LEAST
from triaxis.base.tables import CHOSEN, from_csv

Row = dict[str, Any]

# What is copied of a run: tables of its experiments, and how it was made.
TABLES = (
    *("headline", "axes", "mechanism", "heads_classes", "heads_least_additive", "heads_relations", "surgery"),
    *("surgery_bands", "tolerance", "tolerance_predictors", "tasks", "length"),
    *("training", "settling", "criteria", "prefixes"),
)
MADE_OF = ("config", "sources", "models", "packages")
WIDTH = 100
FRACTION = re.compile(r"-?\d+(\.\d+(e[-+]?\d+)?|e[-+]?\d+)")
BLOCK = re.compile(r"(<!-- facts: ([\w-]+) -->\n).*?(<!-- /facts -->)", re.DOTALL)


class NotRun(UserError):
    """A table of an experiment that was not part of the run."""


def copy_run(results: Path, folder: Path) -> None:
    """Copy a run's tables and what it was made of to `folder`; a table that the run did not make goes."""
    manifest = json.loads((results / "manifest.json").read_text())
    made = {Path(path).name for path in manifest["artefacts"]}
    for name in TABLES:
        copied = folder / f"{name}.csv"
        # One of an earlier run may lie in results/ too.
        if copied.name not in made:
            copied.unlink(missing_ok=True)
            continue
        with files.whole(copied) as part:
            part.write_text(six_decimals((results / "tables" / copied.name).read_text()))
    with files.whole(folder / "run.json") as part:
        part.write_text(json.dumps({key: manifest[key] for key in MADE_OF}, indent=2, sort_keys=True) + "\n")


def copy_file(file: Path, target: Path) -> None:
    with files.whole(target) as part:
        shutil.copyfile(file, part)


def six_decimals(table: str) -> str:
    """A CSV table with its fractions rounded to six decimals; names stay, even those that look like numbers."""
    head, *lines = csv.reader(table.splitlines())

    def rounded(name: str, text: str) -> str:
        return f"{float(text):.6f}" if name not in CHOSEN and FRACTION.fullmatch(text) else text

    lines = [[rounded(name, text) for name, text in zip(head, line, strict=True)] for line in lines]
    return "".join(f"{','.join(line)}\n" for line in [head, *lines])


class Facts:
    """The tables and templates that pages quote."""

    def __init__(self, tables: Path, templates: Path) -> None:
        self.tables = {path.stem: from_csv(path) for path in sorted(tables.glob("*.csv"))}
        self.run = json.loads((tables / "run.json").read_text())
        self.templates = templates
        self.environment = Environment(
            loader=FileSystemLoader(templates), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self.environment.filters |= {"fixed": fixed, "percent": percent, "step": step}
        model = next(iter(self.run["config"]["models"]))
        self.environment.globals |= {
            "rows": self.rows,
            "row": self.row,
            "run": self.run,
            "model": model,
            "control": control_of(model),
            "interval": interval,
            "claim": claim,
        }

    def rows(self, table: str, **where: object) -> list[Row]:
        """The rows of a table whose columns have the values `where`, in its order."""
        if table not in TABLES:
            raise UserError(f"docs/results/{table}.csv is none of the tables that are copied")
        if table not in self.tables:
            raise NotRun(table)
        for column in where:
            if column not in self.tables[table][0]:
                raise UserError(f"docs/results/{table}.csv has no column {column!r}")
        return [row for row in self.tables[table] if all(row[name] == value for name, value in where.items())]

    def row(self, table: str, **where: object) -> Row:
        """The one row of a table with the values `where`."""
        found = self.rows(table, **where)
        if len(found) != 1:
            raise UserError(f"docs/results/{table}.csv has {len(found)} rows with {where}, not one")
        return found[0]

    def render(self, name: str) -> str:
        """What report/facts/NAME.md makes of the tables, or that its experiment was not run. Raises UserError for a
        name or column that does not exist, a number that is missing, and a claim that the tables refute."""
        file = self.templates / f"{name}.md"
        try:
            return reflow(self.environment.get_template(file.name).render())
        except TemplateNotFound as error:
            raise UserError(f"{file} does not exist") from error
        except TemplateError as error:
            raise UserError(f"{file}: {error.message}") from error
        except NotRun as table:
            return f"*Not part of this run: it has no table `{table}.csv`.*"
        except UserError as error:
            raise UserError(f"{file}: {error}") from error

    def fill(self, page: str) -> str:
        """A page with its blocks written anew."""
        return BLOCK.sub(lambda block: f"{block[1]}\n{self.render(block[2])}\n\n{block[3]}", page)


def fixed(value: float, digits: int = 3) -> str:
    """A number with its decimals."""
    if value != value:
        raise UserError("a number is missing in the table")
    return f"{value:,.{digits}f}".replace("-", "−")


def step(value: float) -> str:
    """A training step, or that there is none."""
    return "not by the end" if value != value else f"{value:,.0f}"


def percent(value: float, digits: int = 1) -> str:
    return f"{fixed(100 * value, digits)} %"


def interval(row: Mapping[str, Any], name: str, count: str = "sequences", digits: int = 3) -> str:
    """A number and its 95 % interval over `count`; alone where these are fewer than LEAST."""
    value = fixed(row[name], digits)
    if row[count] < LEAST:
        return value
    return f"{value} [{fixed(row[f'{name}_low'], digits)}, {fixed(row[f'{name}_high'], digits)}]"


def claim(holds: bool, sentence: str) -> str:
    """Nothing, or a UserError: what a sentence says beyond its numbers must hold in the tables."""
    if not holds:
        raise UserError(f"the tables refute {sentence!r}: write the sentence anew")
    return ""


def reflow(text: str) -> str:
    """Paragraphs and list items in lines of at most WIDTH characters; tables and headings as they are."""
    return "\n\n".join(map(_reflow_part, re.split(r"\n\s*\n", text.strip())))


def _reflow_part(part: str) -> str:
    lines = part.strip().splitlines()
    if lines[0].startswith(("|", "#", "![")):
        return "\n".join(lines)
    if lines[0].startswith("- "):
        return "\n".join(_wrap(line, "  ") for line in re.split(r"\n(?=- )", part.strip()))
    return _wrap(part)


def _wrap(text: str, indent: str = "") -> str:
    joined = re.sub(r"\s+", " ", text.strip())
    return wrapped(joined, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
