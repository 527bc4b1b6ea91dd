"""What is trained on is never measured."""

import hashlib

import pyarrow as pa
import pytest

from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.text.schema import DOCUMENTS
from triaxis.text.split import SPLITS, one_side, read_measured, split_documents


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def split(texts: list[str], held_out: int, seed: int = 0) -> pa.Table:
    return split_documents(range(len(texts)), list(map(digest, texts)), held_out, seed)


def sides(texts: list[str], table: pa.Table) -> tuple[set[str], set[str]]:
    """The texts that a model is trained on, and those that are held out."""
    assert table.schema == SPLITS and table["document"].to_pylist() == list(range(len(texts)))
    pairs = list(zip(texts, table["held_out"].to_pylist(), strict=True))
    return {text for text, out in pairs if not out}, {text for text, out in pairs if out}


TEXTS = [f"text {number}" for number in range(40)]


def test_each_document_is_on_one_side_and_so_many_are_held_out():
    trained, held_out = sides(TEXTS, split(TEXTS, 7))
    assert len(held_out) == 7 and not trained & held_out and trained | held_out == set(TEXTS)


def test_the_draw_is_seeded():
    assert split(TEXTS, 7).equals(split(TEXTS, 7))
    assert not split(TEXTS, 7).equals(split(TEXTS, 7, seed=1))


def test_a_text_that_the_corpus_holds_twice_is_on_one_side_only():
    for seed in range(20):
        trained, held_out = sides(TEXTS[:4] * 3, split(TEXTS[:4] * 3, 2, seed))
        assert len(held_out) == 2 and not trained & held_out


def test_a_document_that_is_added_moves_at_most_one_other():
    _, before = sides(TEXTS, split(TEXTS, 7))
    _, after = sides([*TEXTS, "new"], split([*TEXTS, "new"], 7))
    assert len(before - after) <= 1


def test_holding_out_all_is_refused():
    with pytest.raises(UserError, match=r"training\.heldout is 4, but the corpus has 4 different documents"):
        split(TEXTS[:4] * 2, 4)


@pytest.fixture
def documents(tmp_path):
    rows = [
        {"document": n, "title": "", "text": text, "characters": len(text), "sha256": digest(text)}
        for n, text in enumerate(TEXTS)
    ]
    parquet.write_parquet(
        tmp_path / "documents.parquet", pa.Table.from_pylist(rows, schema=DOCUMENTS), DOCUMENTS, {"revision": "corpus"}
    )
    table = split(TEXTS, 7)
    path = tmp_path / "splits/model=small/split.parquet"
    parquet.write_parquet(path, table, SPLITS, {"revision": "corpus", "config_digest": "split"})
    return tmp_path / "documents.parquet", path, table


def test_a_model_that_is_trained_here_is_measured_on_what_is_held_out_and_any_other_on_all(documents):
    path, split_path, table = documents
    _, held_out = sides(TEXTS, table)
    measured, metadata = read_measured(path, [str(split_path)])
    assert set(measured["text"].to_pylist()) == held_out and metadata["config_digest"] == "split"
    assert measured["document"].to_pylist() == sorted(measured["document"].to_pylist())
    everything, metadata = read_measured(path, [])
    assert everything["text"].to_pylist() == TEXTS and metadata == {"revision": "corpus"}


def test_the_two_sides_share_no_document(documents):
    path, _, table = documents
    rows = parquet.read_parquet(path)
    texts = [set(one_side(rows, table, side)["text"].to_pylist()) for side in (False, True)]
    assert not texts[0] & texts[1] and texts[0] | texts[1] == set(TEXTS)
