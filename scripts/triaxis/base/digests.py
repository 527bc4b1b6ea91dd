"""Digests of files' contents, kept so that a file is read again only if it may have changed."""

import hashlib
import json
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from triaxis.base.errors import UserError
from triaxis.base.files import write_json

# Below the folder that a run starts in.
KEPT = Path(".cache/digests")
# Nanoseconds. A file may change twice within one tick of a file system's clock, so one that changed just before it
# was read is read again.
TICK = 2 * 10**9


def sha256_file(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: str | Path, names: Iterable[str]) -> dict[str, str]:
    """name -> SHA-256 of the file folder / name.

    What was read before is believed while size, inode and both time stamps stay: the time of a file's last change
    cannot be set, so neither `touch` nor `cp -p` nor `mv` hides a change. Raises UserError if a file cannot be read.
    """
    folder = Path(folder)
    kept = KEPT / f"{hashlib.sha256(bytes(folder.resolve())).hexdigest()}.json"
    known = _read(kept)
    found, new = {}, {}
    for name in names:
        try:
            status = (folder / name).stat()
            stamp = [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]
            old = time.time_ns() - max(stamp[2:]) > TICK
            if name in known and known[name][0] == stamp:
                found[name] = known[name][1]
                continue
            found[name] = sha256_file(folder / name)
        except OSError as error:
            raise UserError(f"{folder / name} cannot be read: {error.strerror}") from error
        if old:
            new[name] = [stamp, found[name]]
    if new:
        with suppress(OSError, UserError):  # a folder that may not be written costs time, and nothing else
            write_json(kept, known | new)
    return found


def _read(kept: Path) -> dict[str, list]:
    with suppress(OSError, ValueError):
        known = json.loads(kept.read_text())
        return known if isinstance(known, dict) else {}
    return {}
