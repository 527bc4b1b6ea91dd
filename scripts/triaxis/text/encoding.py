"""Text files, decoded strictly: UTF-8, or UTF-16 with its mark; the mark is no text, and what is no text is refused."""

import codecs
import gzip
from collections.abc import Iterator
from pathlib import Path

from triaxis.base.errors import UserError

MARKS = {codecs.BOM_UTF8: "UTF-8", codecs.BOM_UTF16_LE: "UTF-16LE", codecs.BOM_UTF16_BE: "UTF-16BE"}
CHUNK = 1 << 20


def decode(file: Path) -> Iterator[str]:
    """The text of a file, unpacked if its name ends in .gz, in pieces; line ends stay as they are.

    Raises UserError, with the byte, for what is in neither encoding and for a NUL, which no text has: such a file is
    UTF-16 or UTF-32 without its mark, or no text. Every other control character is text.
    """
    with (gzip.open if packed(file) else open)(file, "rb") as stream:
        start = stream.read(4)  # more than a mark
        mark = next((mark for mark in MARKS if start.startswith(mark)), b"")
        name = MARKS.get(mark, "UTF-8")
        decoder = codecs.getincrementaldecoder(name)()
        chunk, given, done = start[len(mark) :], len(mark), len(mark)
        while True:
            given += len(chunk)
            try:
                piece = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                byte = given - len(error.object) + error.start
                raise UserError(
                    f"{file} is not valid {name} at byte {byte} ({error.reason}): convert it, for example with "
                    "iconv -t UTF-8"
                ) from None
            if "\0" in piece:
                byte = done + len(piece[: piece.index("\0")].encode(name))
                raise UserError(
                    f"{file} has a NUL character at byte {byte}: it is no text, or UTF-16 or UTF-32 without its mark; "
                    "convert it, for example with iconv -f UTF-16LE -t UTF-8"
                )
            done += len(piece.encode(name))
            yield piece
            if not chunk:
                return
            chunk = stream.read(CHUNK)


def as_utf8(file: Path, scratch: Path) -> Path:
    """A file with the same text in UTF-8 without a mark: `file` itself, if it is such a one, or a copy in `scratch`.

    Raises UserError as `decode` does.
    """
    with (gzip.open if packed(file) else open)(file, "rb") as stream:
        marked = stream.read(3).startswith(tuple(MARKS))
    if not marked:
        for _ in decode(file):
            pass
        return file
    copy = scratch / "copy"
    with copy.open("w", encoding="utf-8", newline="") as out:
        out.writelines(decode(file))
    return copy


def packed(file: Path) -> bool:
    """Whether a file is gzipped, by its name."""
    return file.suffix.lower() == ".gz"
