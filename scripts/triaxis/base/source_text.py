"""A source as the configuration writes it: hub:, path: or pypi:, and what each of them can name."""

import re
from dataclasses import dataclass

from triaxis.base.errors import UserError

FORMS = (
    "hub:owner/name@revision or hub:owner/name@revision/path/inside/repo, path:some/folder/or/file, "
    "pypi:project==version/path/inside/wheel"
)
HUB = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w.-]*))?(/(?P<path>\S.*))?", re.ASCII)
PYPI = re.compile(r"(?P<name>\w[\w.-]*)==(?P<revision>\w[\w.!+-]*)/(?P<path>.*[^/])", re.ASCII)


@dataclass(frozen=True)
class Source:
    """A parsed source: the text as written, its kind (hub, path or pypi), the repository or project, the revision
    (a branch, tag or commit of a hub source, the version of a pypi one) and the path or glob in it ("" for none)."""

    text: str
    kind: str
    name: str
    revision: str
    path: str


def parse_source(text: str) -> Source:
    """Parse one of `FORMS`; a revision with a slash in it has to be given as its commit. Raises UserError otherwise."""
    kind, _, rest = text.partition(":")
    if kind == "path" and rest.strip():
        return Source(text, kind, "", "", rest)
    match = {"hub": HUB, "pypi": PYPI}[kind].fullmatch(rest) if kind in ("hub", "pypi") else None
    if match is None:
        pinned = " with the exact version" if kind == "pypi" else ""
        raise UserError(f"source {text!r} is not understood: write it{pinned} as one of {FORMS}")
    path = match["path"] or ""
    if path.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", path):
        raise UserError(f"source {text!r} has a path that is absolute or has '..': write it as one of {FORMS}")
    return Source(text, kind, match["name"], match["revision"] or "main", path)


def require_model(source: Source) -> None:
    """Raise UserError if no model can be at `source`, whatever lies there."""
    if source.kind == "hub" and source.path:
        raise UserError(f"{source.text} names files, but a model is a whole repository: drop {source.path!r}")
    if source.kind == "pypi" and not source.path.endswith(".gguf"):
        raise UserError(f"model {source.text} is not a .gguf file: a wheel gives one file, so name one that is")


def require_files(source: Source) -> None:
    """Raise UserError if a source of data files names none."""
    if source.kind == "hub" and not source.path:
        raise UserError(f"{source.text} names no files: add their path, such as {source.text}/data/*.parquet")
