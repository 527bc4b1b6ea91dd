"""features/: what is written comes back, in its order, and a file that is not as it should be is named."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.logits.features import Features
from triaxis.logits.features_file import read_features, to_table, writer
from triaxis.logits.schema import features_schema


def some_features(sequence: int, layer: int) -> Features:
    generator = np.random.default_rng([sequence, layer])
    return Features(
        sequence,
        layer,
        generator.standard_normal((4, 5, 6)).astype(np.float32),
        generator.standard_normal((2, 5, 6)).astype(np.float32),
    )


# As a pass writes them: for each batch of two sequences, layer by layer.
WRITTEN = [(0, 3), (1, 3), (0, 5), (1, 5), (2, 3), (2, 5)]


@pytest.fixture
def path(tmp_path):
    with writer(tmp_path / "features.parquet", 6, {"model": "tiny"}) as out:
        for place in WRITTEN:
            out.write_table(to_table(some_features(*place)))
    return tmp_path / "features.parquet"


def message(path, layers=None) -> str:
    with pytest.raises(UserError) as caught:
        list(read_features(path, layers))
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_features_come_back_as_they_were_stored(path):
    found = list(read_features(path))
    assert [(layer.sequence, layer.layer) for layer in found] == WRITTEN
    for layer in found:
        expected = some_features(layer.sequence, layer.layer)
        np.testing.assert_array_equal(layer.query, expected.query)
        np.testing.assert_array_equal(layer.key, expected.key)
        assert layer.query.dtype == layer.key.dtype == np.float32


def test_only_the_layers_asked_for_are_read(path):
    found = list(read_features(path, [5]))
    assert [(layer.sequence, layer.layer) for layer in found] == [(0, 5), (1, 5), (2, 5)]
    np.testing.assert_array_equal(found[1].query, some_features(1, 5).query)


def test_rows_are_queries_then_keys_by_head_and_position():
    features = some_features(2, 3)
    table = to_table(features)
    assert table.schema == features_schema(6)
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        (2, 3, kind, head, position, vectors[head, position].tolist())
        for kind, vectors in (("query", features.query), ("key", features.key))
        for head in range(len(vectors))
        for position in range(5)
    ]


def test_a_row_group_is_a_sequence_and_layer(path):
    with pq.ParquetFile(path) as file:
        assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [6 * 5] * len(WRITTEN)
    assert parquet.read_metadata(path) == {"model": "tiny"}


def test_layers_that_the_file_lacks_are_named(path):
    assert "lacks layers [4, 9]: add them to features.layers" in message(path, [3, 9, 4])


def test_a_truncated_file_is_named(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "not a whole Parquet file" in message(path)


def test_a_damaged_row_group_is_named(path):
    content = bytearray(path.read_bytes())
    with pq.ParquetFile(path) as file:
        column = file.metadata.row_group(0).column(0)
        start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + 40] = b"\xff" * 40  # the footer is whole, a page header is not
    path.write_bytes(content)
    assert "is damaged" in message(path)


def test_a_missing_file_is_named(tmp_path):
    assert "is missing: rerun the rule that makes it" in message(tmp_path / "no.parquet")
