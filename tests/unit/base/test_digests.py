"""Digests that are kept: a file is read again when it may have changed, and only then."""

import hashlib
import os
from pathlib import Path

import pytest

from triaxis.base import digests
from triaxis.base.errors import UserError


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with a file that lies there for long, as far as the digests know."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(digests, "TICK", -1)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a").write_bytes(b"abc")
    return tmp_path / "d"


@pytest.fixture
def reads(monkeypatch) -> list[Path]:
    """The files that are read, in order."""
    seen: list[Path] = []
    read = digests.sha256_file
    monkeypatch.setattr(digests, "sha256_file", lambda path: (seen.append(Path(path)), read(path))[1])
    return seen


def test_a_file_is_read_once(folder, reads):
    for _ in range(3):
        assert digests.digests(folder, ["a"]) == {"a": sha256(b"abc")}
    assert digests.digests("d", ["a"]) == {"a": sha256(b"abc")}
    assert reads == [folder / "a"]


def older(file: Path) -> None:
    """mv of a file that was there before."""
    (file.parent / "b").write_bytes(b"xyz")
    os.utime(file.parent / "b", (1, 1))
    (file.parent / "b").replace(file)


def same_stamp(file: Path) -> None:
    """cp -p of a file of the same size and time."""
    status = file.stat()
    file.write_bytes(b"xyz")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [older, same_stamp, lambda file: file.write_bytes(b"xyz")])
def test_a_change_is_seen_whatever_the_time_of_the_file_says(folder, reads, change):
    digests.digests(folder, ["a"])
    change(folder / "a")
    assert digests.digests(folder, ["a"]) == {"a": sha256(b"xyz")}
    assert len(reads) == 2


def test_a_touched_file_is_read_again_and_is_the_same(folder, reads):
    before = digests.digests(folder, ["a"])
    os.utime(folder / "a", (1, 1))
    assert digests.digests(folder, ["a"]) == before
    assert len(reads) == 2


def test_a_file_that_changed_just_now_is_not_believed(folder, reads, monkeypatch):
    monkeypatch.setattr(digests, "TICK", 10**12)
    assert digests.digests(folder, ["a"]) == digests.digests(folder, ["a"])
    assert len(reads) == 2
    assert not digests.KEPT.exists()


@pytest.mark.parametrize("kept", ["", "[]", "{", '{"a": [[3], "no"]}'])
def test_what_was_kept_may_be_damaged(folder, reads, kept):
    digests.digests(folder, ["a"])
    (file,) = digests.KEPT.iterdir()
    file.write_text(kept)
    assert digests.digests(folder, ["a"]) == {"a": sha256(b"abc")}


def test_folders_do_not_share_what_is_kept(folder, reads):
    (folder.parent / "e").mkdir()
    (folder.parent / "e/a").write_bytes(b"xyz")
    assert digests.digests(folder, ["a"]) != digests.digests(folder.parent / "e", ["a"])


def test_a_place_that_may_not_be_written_costs_only_time(folder, reads, monkeypatch):
    def refuse(*_):
        raise UserError("no")

    monkeypatch.setattr(digests, "write_json", refuse)
    assert digests.digests(folder, ["a"]) == {"a": sha256(b"abc")}


def test_a_file_that_cannot_be_read_is_named(folder):
    with pytest.raises(UserError, match="d/b cannot be read: No such file"):
        digests.digests(folder, ["b"])


def test_sha256_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digests.sha256_file(tmp_path / "a") == digests.sha256_file(str(tmp_path / "a")) == sha256(b"abc")
