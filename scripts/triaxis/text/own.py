"""A run of one's own model or text, as `make run MODEL=... TEXT=...` names it: its name and its configuration."""

import os
import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import PurePath
from typing import Any

from triaxis.base.config import over, resolve
from triaxis.base.errors import UserError
from triaxis.base.names import ENDS
from triaxis.base.source_text import Source, parse_source
from triaxis.text.sources import fetch_corpus_files, fetch_model_files

# What a command can give -> the key of the configuration that it sets; of MODEL, the key below models.NAME.
KEYS = {"MODEL": "source", "TEXT": "corpus.source", "COUNT": "sequences.count", "LENGTH": "sequences.length"}
# A source may end in the digest of its file, as pip writes it.
DIGEST = re.compile(r"(?P<source>.*)#sha256=(?P<sha256>.*)")


def own_run(given: Mapping[str, str], default: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of a run and its configuration, of `given`: what KEYS has -> as the user wrote it.

    default: config.yaml, whose model or corpus is taken where none is given. A path is relative to the folder of this
    process, and absolute in the configuration, since the run has a folder of its own. Raises UserError, which names
    what the user gave, for what no run can be made of.
    """
    name = _name(given["MODEL"]) if "MODEL" in given else next(iter(default["models"]))
    config: dict[str, Any] = {
        "models": {name: _entry(given["MODEL"])} if "MODEL" in given else default["models"],
        "corpus": _entry(given["TEXT"]) if "TEXT" in given else default["corpus"],
        "sequences": {key: given[own] for own, key in (("COUNT", "count"), ("LENGTH", "length")) if own in given},
    }
    try:
        checked = resolve(deepcopy(over(config, default)))
    except UserError as error:
        raise UserError(_renamed(str(error), name, given)) from None
    config["sequences"] = {key: checked["sequences"][key] for key in config["sequences"]}
    for own, entry in (("MODEL", config["models"][name]), ("TEXT", config["corpus"])):
        if own in given:
            _found(own, entry)
    return name, config


def _entry(text: str) -> dict[str, str]:
    """A source and, if it ends in one, its digest."""
    match = DIGEST.fullmatch(text)
    return match.groupdict() if match else {"source": text}


def _name(text: str) -> str:
    """A model's name, out of its source: that of its repository and revision, or of its folder or file."""
    try:
        source = parse_source(_entry(text)["source"])
    except UserError:  # `resolve` says so
        return "model"
    if source.kind == "hub":
        revision = "" if source.revision == "main" else f"-{source.revision[:12]}"
        name = source.name.rpartition("/")[2] + revision
    else:
        name = PurePath(os.path.abspath(source.path)).name.removesuffix(".gguf")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-") or "model"
    return re.sub(ENDS, lambda end: "_" + end[0][1:], name)


def _renamed(message: str, name: str, given: Mapping[str, str]) -> str:
    """A fault of the configuration, told of what the user gave."""
    for own, key in KEYS.items():
        of = f"models.{name}" if own == "MODEL" else "corpus"
        if own in ("MODEL", "TEXT") and f"'{of}.sha256'" in message and own in given:
            return f"{own}={given[own]} needs the digest of its file, which sha256sum prints: add #sha256=DIGEST to it"
        if own in given:
            message = message.replace(f"config key '{of}.source'" if own == "MODEL" else f"config key '{key}'", own)
    return message


def _found(own: str, entry: dict[str, str]) -> None:
    """Make the path of a source absolute; raises UserError if there is nothing at it, or nothing that it could be."""
    source = parse_source(entry["source"])
    if source.kind != "path":
        return
    source = Source(source.text, "path", "", "", os.path.expanduser(source.path))
    try:
        if own == "MODEL":
            fetch_model_files([source], entry.get("sha256"), None, "")
        else:
            fetch_corpus_files(source, entry.get("sha256"), None, "")
    except UserError as error:
        raise UserError(f"{own}: {error}") from None
    entry["source"] = f"path:{os.path.abspath(source.path)}"
