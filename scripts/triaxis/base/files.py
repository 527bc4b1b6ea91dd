"""Files that are whole or not there: written under a private name beside their own, and renamed when done.

A reader never meets half of one, whatever was killed.
"""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from triaxis.base.errors import UserError

# What the machine, not the code, refuses: remedy by errno.
REMEDIES = {
    errno.ENOSPC: "free some",
    errno.EDQUOT: "free some",
    errno.EFBIG: "raise this machine's limit (ulimit -f)",
    errno.EROFS: "make its folder writable",
    errno.EACCES: "make its folder writable",
}


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yield a private path beside `path`; what the body wrote there becomes `path` if the body ends without error.

    The name is the process's own, so that two runs at once do not write one file, and ends in .part, so that no
    glob takes it for a table; what killed processes of this machine left there is removed. Raises UserError if the
    disk is full or may not be written.
    """
    path = Path(path)
    try:
        with _whole(path) as part:
            yield part
    except OSError as error:
        if error.errno not in REMEDIES or not str(error.filename or path).startswith(str(path.parent)):
            raise
        raise UserError(
            f"{path} cannot be written: {os.strerror(error.errno)}; {REMEDIES[error.errno]} and run again, finished "
            "files are kept"
        ) from error


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.{os.uname().nodename}-"
    for left in path.parent.glob(f"{prefix}*.part"):
        process = left.name.removeprefix(prefix).removesuffix(".part")
        # Not a number: of another machine, whose name goes on where this one's ends.
        if process.isdigit() and not _alive(int(process)):
            left.unlink(missing_ok=True)
    part = path.with_name(f"{prefix}{os.getpid()}.part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as sorted, indented JSON, whole or not at all."""
    with whole(path) as part:
        part.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
