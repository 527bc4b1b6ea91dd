"""Files that are whole or not there: written under a private name beside their own, and renamed when done.

A reader never meets half of one, whatever was killed.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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
    glob takes it for a table; what killed processes of this machine left there is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.{os.uname().nodename}-"
    for left in path.parent.glob(f"{prefix}*.part"):
        if not _alive(int(left.name.removeprefix(prefix).removesuffix(".part"))):
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
