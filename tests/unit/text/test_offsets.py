"""Which characters a token has, of tokenizers that say so and of those that do not."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import ByT5Tokenizer

from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.text.offsets import encode
from triaxis.text.schema import DOCUMENTS, SEQUENCES

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
TEXT = "the old garden was where the people went"


def test_a_tokenizer_without_offsets_is_named_with_a_remedy(tmp_path):
    ByT5Tokenizer().save_pretrained(tmp_path)
    with pytest.raises(
        UserError, match=r"^the tokenizer in .* \(ByT5Tokenizer\) does not say .* tokenizer\.json"
    ) as caught:
        encode(ByT5Tokenizer.from_pretrained(tmp_path), TEXT)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def displace(tmp_path, monkeypatch):
    """displace(unit) -> the file that scripts/displace_tokens.py writes, for a tokenizer of bytes without offsets."""
    folder = tmp_path / "bytes"
    ByT5Tokenizer().save_pretrained(folder)
    (tmp_path / "record.json").write_text(json.dumps({"folder": str(folder), "files": {}, "source": "path:bytes"}))
    tokens = ByT5Tokenizer()(TEXT, add_special_tokens=False).input_ids
    row = {"sequence": 0, "document": 0, "offset": 0, "length": len(tokens), "tokens": tokens}
    parquet.write_parquet(tmp_path / "sequences.parquet", pa.Table.from_pylist([row], SEQUENCES), SEQUENCES, {})
    text = {"document": 0, "title": "a", "text": TEXT, "characters": len(TEXT), "sha256": ""}
    parquet.write_parquet(tmp_path / "documents.parquet", pa.Table.from_pylist([text], DOCUMENTS), DOCUMENTS, {})

    class Params(dict):
        __getattr__ = dict.__getitem__

    def run(unit: str) -> Path:
        inputs = {name: str(tmp_path / f"{name}.parquet") for name in ("sequences", "documents")}
        snakemake = SimpleNamespace(
            log=[str(tmp_path / "log")],
            input=SimpleNamespace(record=str(tmp_path / "record.json"), **inputs),
            output=[str(tmp_path / "displacements.parquet")],
            params=Params(unit=unit, window=1, seed=0, taken=1, fractions=[0.0, 1.0], code=""),
        )
        runpy.run_path(str(SCRIPTS / "displace_tokens.py"), {"snakemake": snakemake})
        return tmp_path / "displacements.parquet"

    return run


def test_words_of_a_tokenizer_without_offsets_end_in_one_line_that_names_the_key(displace, capsys):
    with pytest.raises(SystemExit):
        displace("word")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ByT5Tokenizer" in line and line.endswith("or set tolerance.unit: token")


def test_tokens_of_a_tokenizer_without_offsets_are_displaced(displace):
    rows = pq.ParquetFile(displace("token")).read().to_pylist()
    assert len(rows) == 2 * len(TEXT) and any(row["position"] != row["new_position"] for row in rows)
