"""Write the tables of docs/files.md from the schemas and the comments beside their columns.

The meanings are comments, since an edit of a comment reruns nothing.
"""

import ast
import re
from importlib import import_module
from inspect import signature
from io import StringIO
from pathlib import Path
from tokenize import COMMENT, TokenInfo, generate_tokens

import pyarrow as pa

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs/files.md"
START, END = "<!-- written from the schemas: make facts -->", "<!-- end -->"
SHARED = "base.parquet"
MODULES = (
    *("text.schema", "attention.schema", "logits.schema", "fit.schema", "mechanism.schema", "heads.schema"),
    *(
        "surgery.schema",
        "tolerance.schema",
        "tasks.schema",
        "text.split",
        "text.joined",
        "length.schema",
        "training.schema",
    ),
)


class Commented:
    """A module of schemas: the comments above its top-level names, and those beside or above each column."""

    def __init__(self, module: str) -> None:
        source = PROJECT.joinpath("scripts/triaxis", *module.split(".")).with_suffix(".py").read_text()
        comments = [token for token in generate_tokens(StringIO(source).readline) if token.type == COMMENT]
        self.beside = {token.start[0]: token.string.lstrip("# ") for token in comments}
        # A line of its own: what stands beside the line before is of that line.
        self.before = {token.start[0] + 1: self.beside[token.start[0]] for token in comments if _alone(token)}
        self.nodes = {name: node for node in ast.parse(source).body if (name := _name(node))}

    def above(self, name: str) -> str:
        """The comment on the line above a top-level name, or nothing."""
        return self.before.get(self.nodes[name].lineno, "")

    def columns(self, name: str) -> dict[str, str]:
        """column -> its comment, of the columns that are written out in the definition of `name`."""
        found = {}
        for node in ast.walk(self.nodes[name]):
            if isinstance(node, ast.Tuple) and isinstance(node.elts[0], ast.Constant):
                comment = self.beside.get(node.end_lineno or 0) or self.before.get(node.lineno)
                found[str(node.elts[0].value)] = comment or ""
        return found

    def starred(self, name: str) -> list[str]:
        """The lists of columns that the definition of `name` takes in, as they are or made into others."""
        stars = [node for node in ast.walk(self.nodes[name]) if isinstance(node, ast.Starred)]
        named = [node.id for star in stars for node in ast.walk(star) if isinstance(node, ast.Name)]
        return list(dict.fromkeys(name for name in named if name.isupper()))


def _alone(comment: TokenInfo) -> bool:
    return comment.line.lstrip().startswith("#")


def _name(node: ast.stmt) -> str | None:
    if isinstance(node, ast.FunctionDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return None


def stages() -> dict[str, tuple[str, str, list[tuple[str, str, str]]]]:
    """stage -> its file, what one row is, and its columns: name, type and meaning ("" where a comment is missing).

    A schema is a top-level name with a comment `FILE.parquet: what one row is` above it.
    """
    shared, found = Commented(SHARED), {}
    for module in MODULES:
        own, content = Commented(module), import_module(f"triaxis.{module}")
        for name in own.nodes:
            if match := re.fullmatch(r"(\S+\.parquet): (.+)", own.above(name)):
                meanings = own.columns(name)
                for taken in own.starred(name):
                    meanings |= (own if taken in own.nodes else shared).columns(taken)
                columns = [
                    (column, kind, _meaning(column, meanings)) for column, kind in _types(getattr(content, name))
                ]
                found[re.split("/(?:model|series)=", match[1])[0]] = match[1], match[2], columns
    return found


def _meaning(column: str, meanings: dict[str, str]) -> str:
    """The comment of a column; of the end of an interval, whose it is."""
    for end, which in (("_low", "lower"), ("_high", "upper")):
        if column not in meanings and column.removesuffix(end) in meanings:
            return f"{which} end of the 95 % interval of {column.removesuffix(end)}"
    return meanings.get(column, "")


def _types(schema: object) -> list[tuple[str, str]]:
    """(column, type) of a schema, or of a function of the size of its vectors, whose name stands for that size."""
    if isinstance(schema, pa.Schema):
        return [(field.name, _type(field.type)) for field in schema]
    assert callable(schema)
    (size,) = signature(schema).parameters
    return [(field.name, _type(field.type, size)) for field in schema(1)]


def _type(kind: pa.DataType, size: str = "") -> str:
    if pa.types.is_fixed_size_list(kind):
        return f"{_type(kind.value_type)}[{size}]"
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    names = {"double": "float64", "float": "float32", "large_string": "string"}
    return names.get(str(kind), str(kind))


def tables() -> str:
    """An overview, a row a stage, and a table of columns for each stage."""
    found = stages()
    overview = [f"| [{stage}](#{_anchor(stage)}) | {row} | `{file}` |" for stage, (file, row, _) in found.items()]
    parts = ["\n".join(["| stage | one row is | file below `results/` |", "|---|---|---|", *overview])]
    for stage, (file, row, columns) in found.items():
        rows = [f"| {name} | {kind} | {meaning.replace('|', chr(92) + '|')} |" for name, kind, meaning in columns]
        body = "\n".join(["| column | type | meaning |", "|---|---|---|", *rows])
        parts.append(f"### {_title(stage)}\n\n`{file}`\n\nOne row is {row}.\n\n{body}")
    return "\n\n".join(parts)


def _title(stage: str) -> str:
    return stage if stage.endswith(".parquet") else f"{stage}/"


def _anchor(stage: str) -> str:
    return re.sub(r"[^\w-]", "", _title(stage))


def page(text: str) -> str:
    """The page `text` with its tables written anew."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{tables()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
