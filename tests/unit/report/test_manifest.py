"""What manifest.json says: of the code its own commit or none, and of a tokenizer what it does not give back."""

import subprocess
from pathlib import Path

import pytest

from triaxis.base.parquet import write_parquet
from triaxis.report.manifest import facts_of_run, git_state, machine, manifest_of_run
from triaxis.text.schema import TOKENS


def repository(folder: Path) -> str:
    """Make `folder` a git repository with one commit and return that."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file").write_text("content")
    git = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e"]
    for arguments in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_a_checkout_has_its_commit_and_its_changes(tmp_path):
    commit = repository(tmp_path / "project")
    assert git_state(tmp_path / "project") == {"commit": commit, "dirty": False}
    (tmp_path / "project/file").write_text("changed")
    assert git_state(tmp_path / "project") == {"commit": commit, "dirty": True}


def test_a_link_to_a_checkout_is_that_checkout(tmp_path):
    commit = repository(tmp_path / "project")
    (tmp_path / "link").symlink_to("project")
    assert git_state(tmp_path / "link")["commit"] == commit


@pytest.mark.parametrize("inside", [False, True], ids=["beside no repository", "inside another's"])
def test_an_archive_that_was_unpacked_has_none(tmp_path, inside):
    if inside:
        repository(tmp_path)
    project = tmp_path / "vendor/project"
    project.mkdir(parents=True)
    assert git_state(project) == {"commit": None, "dirty": None}


def test_a_tokenizer_that_loses_text_is_in_the_manifest(tmp_path):
    metadata = {"documents_changed": "1", "characters_lost": "3", "share_lost": "0.25", "prefix": "[]"}
    write_parquet(tmp_path / "tokens.parquet", TOKENS.empty_table(), TOKENS, metadata)
    facts = facts_of_run(tmp_path, {}, {}, {}, {"tiny": tmp_path / "tokens.parquet"})
    content = manifest_of_run(facts, [tmp_path / "tokens.parquet"], tmp_path)
    assert content["artefacts"].keys() == {"tokens.parquet"}
    assert content["tokenizers"] == {"tiny": {"documents_changed": 1, "characters_lost": 3, "share_lost": 0.25}}


def test_a_source_says_how_its_weights_were_stored(tmp_path):
    record = {"source": "path:m.gguf", "revision": "sha256:0", "files": {}, "folder": "f", "kind": "path"}
    records = {"m": record | {"quantisation": "GGUF Q4_1"}, "corpus": record}
    sources = facts_of_run(tmp_path, {}, records, {}, {})["sources"]
    assert (sources["m"]["quantisation"], sources["corpus"]["quantisation"]) == ("GGUF Q4_1", None)


def test_the_machine_is_told_in_full():
    assert all(machine().values())
