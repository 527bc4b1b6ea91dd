"""Which files a `path:` source names: a file, a folder or a pattern. A part that is there by its name is no pattern."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from triaxis.base.errors import UserError


def find_files(text: str, path: str) -> tuple[Path, list[str]]:
    """The folder, and the names below it, of the files that `path` names; `text` is the source, as the user wrote it.

    A file names itself, a folder every file in it that is not hidden, ** included; of anything else the parts that
    are there by name (`texts [v1]`) are names and the rest is a pattern. Links are followed, and each real file is
    found once, under the name of its own if it has one here. Raises UserError for a path that matches no file or both
    a name and a pattern, and for a link to nothing.
    """
    try:
        literal, parts = _split(Path(path))
        found = list(_matching(literal, parts or ["**"])) if parts or literal.is_dir() else [literal]
        for file in found:
            require_target(text, file)
        if glob.has_magic(str(literal)):
            _require_no_pattern(text, Path(path), found)
    except OSError as error:
        raise UserError(f"{error.filename} of {text} cannot be read: {error.strerror}") from error
    if not found:
        hint = "; write [[] for a [ that is part of a name" if "[" in path else ""
        raise UserError(f"corpus {text} matches no file: correct the path, relative to where the run starts{hint}")
    folder = literal if parts or literal.is_dir() else literal.parent
    return folder, sorted(str(file.relative_to(folder)) for file in _once(found))


def _split(path: Path) -> tuple[Path, list[str]]:
    """The longest part of `path` that is there by name, and the parts that follow it."""
    folder = Path(path.anchor)
    parts = list(path.parts[1:] if path.anchor else path.parts)
    while parts and os.path.lexists(folder / parts[0]):
        folder /= parts.pop(0)
    return folder, parts


def _matching(folder: Path, parts: list[str]) -> Iterator[Path]:
    """What the pattern `parts` matches below `folder`, but no folder."""
    first, rest = parts[0], parts[1:]
    if first == "**":
        for each in _folders(folder):
            yield from _matching(each, rest or ["*"])
        return
    for name in glob.glob(first, root_dir=folder) if glob.has_magic(first) else [first]:
        path = folder / name
        if rest and path.is_dir():
            yield from _matching(path, rest)
        elif not rest and os.path.lexists(path) and not path.is_dir():
            yield path


def _folders(root: Path) -> Iterator[Path]:
    """`root` and every folder below it that is not hidden, each real one once; those behind links come last."""
    seen: set[str] = set()
    folders: list[Path] = [root] if root.is_dir() else []
    links: list[Path] = []
    while folders or links:
        folder = folders.pop(0) if folders else links.pop(0)
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        yield folder
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.is_dir() and not entry.name.startswith("."):
                (links if entry.is_symlink() else folders).append(Path(entry.path))


def _once(found: list[Path]) -> list[Path]:
    """Each real file under one of its names; one that is no link, where there is one."""
    names: dict[str, Path] = {}
    for file in sorted(found, key=lambda file: (os.path.realpath(file) != os.path.abspath(file), str(file))):
        names.setdefault(os.path.realpath(file), file)
    return list(names.values())


def require_target(text: str, file: Path) -> None:
    """Raise UserError if `file` of the source `text` is a link to nothing."""
    if file.is_symlink() and not file.exists():
        raise UserError(f"{file} of {text} is a link to {os.readlink(file)}, which is not there: remove or mend it")


def _require_no_pattern(text: str, path: Path, found: list[Path]) -> None:
    """Raise UserError if `path`, taken as a pattern from its start, matches other files than those found."""
    own = {os.path.realpath(file) for file in found}
    anchor = Path(path.anchor)
    matches = _matching(anchor, list(path.relative_to(anchor).parts))
    others = [file for file in matches if os.path.realpath(file) not in own]
    if others:
        raise UserError(
            f"{text} is there by that name, and as a pattern matches {min(others)} too: write [[], [*] or [?] for a "
            "character that is part of a name"
        )
