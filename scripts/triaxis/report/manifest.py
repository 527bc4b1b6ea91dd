"""manifest.json: what a run was made of, and the digest of all that it made."""

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from triaxis.base import parquet
from triaxis.base.digests import sha256_file
from triaxis.base.version import VERSION


def git_state(folder: Path) -> dict[str, Any]:
    """The commit that the code in `folder` is at and whether it has changes; nulls unless it is itself a git checkout:
    unpacked from an archive, it may lie in one that is not its own."""

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(folder), *arguments]
        try:
            result = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            return None
        return result.stdout.strip() if result.returncode == 0 else None

    top = git("rev-parse", "--show-toplevel")
    if top is None or not Path(top).samefile(folder):
        return {"commit": None, "dirty": None}
    status = git("status", "--porcelain")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def packages(names: Iterable[str]) -> dict[str, str | None]:
    """The installed version of each package, null for one that this environment lacks."""
    versions: dict[str, str | None] = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def artefact(path: str | Path) -> dict[str, Any]:
    """sha256 and size of a file."""
    return {"sha256": sha256_file(path), "bytes": Path(path).stat().st_size}


def facts_of_run(
    code: Path,
    config: Mapping[str, Any],
    records: Mapping[str, Mapping[str, Any]],
    made: Mapping[str, str | Path],
    tokens: Mapping[str, str | Path],
) -> dict[str, Any]:
    """What a run was made of: commit, configuration, versions, sources, devices.

    code: the project's folder. records: of the models and the corpus, as fetched. made: model -> a file that it
    made in a run, whose metadata say on what. tokens: tokenizer -> its file of tokens/, whose metadata say what of
    the corpus it does not give back.
    """
    made_on = {}
    for model, path in made.items():
        read = parquet.read_metadata(path)
        made_on[model] = {key: read[key] for key in ("revision", "device", "dtype", "torch", "transformers")}
    return {
        "triaxis": VERSION,
        "git": git_state(code),
        "config": dict(config),
        "packages": packages(["snakemake", "numpy", "scipy", "pyarrow", "duckdb", "matplotlib"]),
        "sources": {name: _source(record) for name, record in records.items()},
        "models": made_on,
        "tokenizers": {name: _fidelity(parquet.read_metadata(path)) for name, path in tokens.items()},
        "machine": machine(),
    }


def manifest_of_run(facts: Mapping[str, Any], files: Iterable[str | Path], root: Path) -> dict[str, Any]:
    """The content of manifest.json; facts: of `facts_of_run`; files: every artefact, named from the folder `root`."""
    return dict(facts) | {
        "artefacts": {str(Path(path).relative_to(root)): artefact(path) for path in sorted(map(str, files))}
    }


def machine() -> dict[str, Any]:
    """What this process runs on: the system, the processor, its logical cores, and memory in GiB."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": named[0] if named else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
    }


def _source(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of where its files come from; its quantisation, null of one that was published in full."""
    return {key: record[key] for key in ("source", "revision", "files")} | {"quantisation": record.get("quantisation")}


def _fidelity(metadata: Mapping[str, str]) -> dict[str, int | float]:
    """What of the corpus a tokenizer does not give back: documents, characters and their share of all."""
    kinds: dict[str, type[int] | type[float]] = {"documents_changed": int, "characters_lost": int, "share_lost": float}
    return {key: kind(metadata[key]) for key, kind in kinds.items()}
