"""What a `path:` source resolves to is an input by content, whatever its files are called and however old they are."""

import os

import pyarrow.parquet as pq

TARGET = "results/documents.parquet"


def titles(workspace) -> list[str]:
    run = workspace.run(TARGET)
    assert run.status == 0, run.output
    return pq.read_table(workspace.folder / TARGET)["title"].to_pylist()


def test_files_with_brackets_and_braces_are_read_and_every_change_of_them_is_seen(workspace):
    folder = workspace.folder / "texts [v1]"
    (workspace.folder / "tiny-corpus").rename(folder)
    (folder / "speech-0.txt").rename(folder / "speech {draft}.txt")
    (folder / "again").symlink_to(".")
    workspace.edit("config/tiny.yaml", "path:tiny-corpus/*.txt", "path:texts [v1]")
    assert titles(workspace) == ["speech {draft}", "speech-1", "speech-2", "speech-3"]
    assert workspace.dry(TARGET).nothing

    os.utime(folder / "speech-1.txt")
    assert workspace.dry(TARGET).nothing

    (folder / "speech-1.txt").unlink()
    (folder / "speech-2.txt").write_text("where what")
    assert titles(workspace) == ["speech {draft}", "speech-2", "speech-3"]
    assert pq.read_table(workspace.folder / TARGET)["text"][1].as_py() == "where what"

    older = workspace.folder / "older.txt"
    older.write_text("key query")
    os.utime(older, (1, 1))
    older.replace(folder / "speech {draft}.txt")
    (folder / "new.txt").write_text("head")
    assert titles(workspace) == ["new", "speech {draft}", "speech-2", "speech-3"]
    assert pq.read_table(workspace.folder / TARGET)["text"][1].as_py() == "key query"


def test_a_single_file_with_braces_is_read(workspace):
    (workspace.folder / "tiny-corpus/speech-0.txt").rename(workspace.folder / "speech {draft}.txt")
    workspace.edit("config/tiny.yaml", "path:tiny-corpus/*.txt", "path:speech {draft}.txt")
    assert titles(workspace) == ["speech {draft}"]
