"""What a file was made from: digests of code and configuration."""

import ast
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

# The folder that holds triaxis: `scripts` of a clone, or where the library is installed.
SCRIPTS = Path(__file__).resolve().parents[2]


def digest(content: Any) -> str:
    """sha256 of `content` as canonical JSON, 16 hex digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=list).encode()).hexdigest()[:16]


@cache
def _analyse(source: bytes) -> tuple[str, list[str]]:
    """A digest of what a file's content does, comments and docstrings left out, and the names of the triaxis modules
    that it imports itself.

    Each job's own Snakemake asks for all files, so the answer is kept on disk: in a clone, where that can be written.
    """
    if SCRIPTS.name != "scripts":
        return _read(source)
    key = hashlib.sha256(repr((sys.version_info[:2], source)).encode()).hexdigest()
    kept = SCRIPTS.parent / ".cache" / "code" / f"{key}.json"
    with suppress(OSError, ValueError):
        code, names = json.loads(kept.read_text())
        return code, names
    answer = _read(source)
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_name(f".{key}-{os.getpid()}.part")
        part.write_text(json.dumps(answer))
        part.replace(kept)
    return answer


def _read(source: bytes) -> tuple[str, list[str]]:
    tree = ast.parse(source)
    names = _imports(tree)
    return digest(ast.dump(_without_docstrings(tree))), names


def _imports(tree: ast.Module) -> list[str]:
    """The triaxis modules that a tree's import statements may name, wherever they stand, with their packages."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    parts = [name.split(".") for name in names]
    return sorted({".".join(own[:end]) for own in parts if own[0] == "triaxis" for end in range(1, len(own) + 1)})


def _without_docstrings(tree: ast.Module) -> ast.Module:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree


def sources(*files: Path) -> list[Path]:
    """Scripts or modules and the triaxis modules that they import, directly or through one another, sorted.

    The `__init__.py` of every package on the way is among them: it runs first, whatever is imported.
    """
    seen: set[Path] = set()
    todo = list(files)
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            _, names = _analyse(file.read_bytes())
            paths = [SCRIPTS.joinpath(*name.split(".")) for name in names]
            found = [path / "__init__.py" if path.is_dir() else path.with_suffix(".py") for path in paths]
            todo += [path for path in found if path.is_file()]
    return sorted(seen)


def code_hash(*files: str) -> str:
    """A digest of what scripts or modules and all that they import from triaxis do: Snakemake itself tracks scripts by
    time stamp and imported modules not at all. Comments, docstrings and layout do not count.

    files: paths below the project, `scripts/x.py`, or absolute ones of scripts that Snakemake fetched from elsewhere,
    with `@` and a revision behind their names. Raises FileNotFoundError if there is no such file.
    """
    found = sources(*(SCRIPTS / file.removeprefix("scripts/") for file in files))
    return digest(sorted([_name(file), _analyse(file.read_bytes())[0]] for file in found))


def _name(file: Path) -> str:
    """What a file is called below SCRIPTS, the same wherever that is."""
    return file.relative_to(SCRIPTS).as_posix() if file.is_relative_to(SCRIPTS) else file.name.partition("@")[0]


def describe(params: Mapping[str, Any], upstream: Mapping[str, str]) -> dict[str, str]:
    """The key-value metadata of a file: model and revision of `upstream`, and digests that chain with its own.

    params: a rule's params, of which `code` is its code hash and the rest its part of the configuration.
    """
    config = {key: value for key, value in params.items() if key != "code"}
    return {key: upstream[key] for key in ("model", "revision") if key in upstream} | {
        "config_digest": digest([upstream.get("config_digest"), config]),
        "code_digest": digest([upstream.get("code_digest"), params["code"]]),
    }
