"""What a file was made from: digests of code and configuration."""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[1]


def digest(content: Any) -> str:
    """sha256 of `content` as canonical JSON, 16 hex digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=list).encode()).hexdigest()[:16]


# Not ast: each job's own Snakemake asks for all scripts, and parsing them took an eighth of its start.
IMPORT = re.compile(r"^ *(?:from (triaxis[.\w]*) import (\([^)]*\)|.*)|import (triaxis[.\w]*))", re.MULTILINE)


@cache
def _imported(file: Path) -> list[Path]:
    """The triaxis modules that one file imports itself."""
    names: list[str] = []
    for parent, imported, module in IMPORT.findall(file.read_text()):
        names += [parent or module, *(f"{parent}.{name}" for name in re.findall(r"\w+", imported))]
    names += ["triaxis.__init__"] if names else []  # runs first, whatever is imported
    modules = [SCRIPTS / f"{name.replace('.', '/')}.py" for name in names]
    return [module for module in modules if module.exists()]


def sources(script: Path) -> list[Path]:
    """A script and the triaxis modules that it imports, directly or through one another, sorted."""
    seen, todo = set(), [script]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += _imported(file)
    return sorted(seen)


def code_hash(script: str) -> str:
    """A digest of the contents of a script (a path below the project, `scripts/x.py`) and of all that it imports
    from triaxis: Snakemake itself tracks scripts by time stamp and imported modules not at all.

    Raises FileNotFoundError if there is no such script.
    """
    files = sources(SCRIPTS.parent / script)
    return digest([[file.relative_to(SCRIPTS).as_posix(), file.read_text()] for file in files])


def describe(params: Mapping[str, Any], upstream: Mapping[str, str]) -> dict[str, str]:
    """The key-value metadata of a file: model and revision of `upstream`, and digests that chain with its own.

    params: a rule's params, of which `code` is its code hash and the rest its part of the configuration.
    """
    config = {key: value for key, value in params.items() if key != "code"}
    return {key: upstream[key] for key in ("model", "revision") if key in upstream} | {
        "config_digest": digest([upstream.get("config_digest"), config]),
        "code_digest": digest([upstream.get("code_digest"), params["code"]]),
    }
