"""JSON files: an array, or objects one after another, whatever they are called; and where one is broken."""

import json
import re
from pathlib import Path

from triaxis.text.encoding import decode

SPACE = re.compile(r"[ \t\r\n]*")


def layout(file: Path) -> str:
    """What a JSON file is, as DuckDB calls it: an array, or values one after another, in lines or not."""
    for piece in decode(file):
        if content := piece.lstrip(" \t\r\n"):
            return "array" if content[0] == "[" else "unstructured"
    return "unstructured"


def fault(file: Path) -> str | None:
    """Where a JSON file in UTF-8 is broken, and how; None if Python's reader finds nothing."""
    text = "".join(decode(file))
    decoder, place, line = json.JSONDecoder(), _next(text, 0), 1
    counted = 0
    while place < len(text):
        line, counted = line + text.count("\n", counted, place), place
        try:
            value, end = decoder.raw_decode(text, place)
            # Half of a pair of \u escapes stands for no character.
            json.dumps(value, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            return f"line {error.lineno}, column {error.colno}: {error.msg}"
        except UnicodeEncodeError as error:
            return f"line {line}: {error.reason}"
        except RecursionError:
            return f"line {line}: values within values, too deep"
        place = _next(text, end)
        if isinstance(value, list) and place < len(text):
            return f"line {line + text.count(chr(10), counted, place)}: text after an array"
    return None


def _next(text: str, place: int) -> int:
    """Where the next value begins."""
    return SPACE.match(text, place).end()  # type: ignore[union-attr]
