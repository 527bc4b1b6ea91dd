"""The logit against its formula, cell by cell, and the rows and encodings of logits/."""

import cmath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triaxis.attention.rope import Rotary
from triaxis.attention.rope_file import from_table, to_table
from triaxis.attention.schema import ROPE
from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.logits.features import Features
from triaxis.logits.logits import CausalCells, dump_logits, logits, sample_positions, writer
from triaxis.logits.schema import LOGITS


def some_rotary(generator: np.random.Generator, head_dim: int, pairs: int, amplitude: float = 1.0) -> Rotary:
    """A rotation of random dimensions, in random pairs."""
    order = generator.permutation(head_dim)
    return Rotary(
        scale=float(generator.uniform(0.1, 1)),
        amplitude=amplitude,
        real=order[:pairs],
        imaginary=order[pairs : 2 * pairs],
        frequency=generator.uniform(0, np.pi, pairs),
        unrotated=np.sort(order[2 * pairs :]),
    )


def by_the_formula(query: np.ndarray, key: np.ndarray, rotary: Rotary, i: int, j: int) -> float:
    """W_ij of one head from its definition; query, key: (length, head_dim)."""
    turned = sum(
        complex(query[i, real], query[i, imaginary])
        * complex(key[j, real], key[j, imaginary]).conjugate()
        * cmath.exp(1j * frequency * (i - j))
        for real, imaginary, frequency in zip(rotary.real, rotary.imaginary, rotary.frequency, strict=True)
    )
    unrotated = sum(float(query[i, n]) * float(key[j, n]) for n in rotary.unrotated)
    return rotary.scale * (rotary.amplitude**2 * complex(turned).real + unrotated)


def some_features(sequence: int, layer: int, heads: int = 4, key_heads: int = 2, length: int = 5) -> Features:
    generator = np.random.default_rng([sequence, layer])
    query = generator.standard_normal((heads, length, 8)).astype(np.float32)
    return Features(sequence, layer, query, generator.standard_normal((key_heads, length, 8)).astype(np.float32))


ROTARIES = {layer: some_rotary(np.random.default_rng(layer), 8, 3) for layer in range(2)}


# The formula


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(4, 2), (3, 3), (6, 1)]),
    pairs=st.integers(0, 4),
    amplitude=st.sampled_from([1.0, 1.35]),
)
def test_a_logit_is_its_formula(seed, shape, pairs, amplitude):
    generator = np.random.default_rng(seed)
    (heads, key_heads), length, head_dim = shape, 7, 8
    rotary = some_rotary(generator, head_dim, pairs, amplitude)
    query = generator.standard_normal((heads, length, head_dim)).astype(np.float32)
    key = generator.standard_normal((key_heads, length, head_dim)).astype(np.float32)
    found = logits(query, key, rotary)
    assert found.shape == (heads, length, length) and found.dtype == np.float32
    expected = [
        [[by_the_formula(query[h], key[h * key_heads // heads], rotary, i, j) for j in range(length)] for i in range(7)]
        for h in range(heads)
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_inputs_are_left_as_they_were():
    features = some_features(0, 0)
    before = features.query.copy(), features.key.copy()
    logits(features.query, features.key, ROTARIES[0])
    np.testing.assert_array_equal(features.query, before[0])
    np.testing.assert_array_equal(features.key, before[1])


def test_far_positions_turn_exactly():
    """Positions of 10^5 would lose the angle in float32."""
    rotary = Rotary(1.0, 1.0, np.array([0]), np.array([1]), np.array([1.0]), np.array([], dtype=np.int64))
    vectors = np.array([[1.0, 0.0]], dtype=np.float32)
    turned = rotary.to_complex(rotary.rotate(vectors, np.array([100_003])))
    assert turned[0, 0] == pytest.approx(cmath.exp(100_003j), abs=1e-10)


def test_a_rotation_survives_its_table():
    rotary = some_rotary(np.random.default_rng(1), 8, 3, 1.2)
    nope = some_rotary(np.random.default_rng(2), 8, 0)
    table = to_table([3, 5], [rotary, nope], [1e-7, 0.0])
    assert table.schema == ROPE and table["check_error"].to_pylist() == [1e-7, 0.0]
    found = from_table(table)
    assert list(found) == [3, 5]
    for layer, expected in ((3, rotary), (5, nope)):
        for name, value in vars(expected).items():
            np.testing.assert_array_equal(getattr(found[layer], name), value)


# The rows


def test_a_table_holds_the_causal_cells_by_head_query_and_key():
    values = np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4)
    table = CausalCells([1, 3], np.arange(4)).table(7, 2, values)
    assert table.schema == LOGITS
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        (7, 2, head, query, key, values[number, query, key])
        for number, head in enumerate([1, 3])
        for query in range(4)
        for key in range(query + 1)
    ]


@pytest.mark.parametrize("heads", [None, [1, 3], [2]])
def test_each_sequence_and_layer_is_a_table_of_the_heads_asked_for(heads):
    features = [some_features(sequence, layer) for sequence in (4, 9) for layer in range(2)]
    found = list(dump_logits(iter(features), ROTARIES, heads))
    assert len(found) == 4
    query, key = np.tril_indices(5)
    for layer, table in zip(features, found, strict=True):
        values = logits(layer.query, layer.key, ROTARIES[layer.layer])
        chosen = range(4) if heads is None else heads
        assert set(table["sequence"].to_pylist()) == {layer.sequence} and set(table["layer"].to_pylist()) == {
            layer.layer
        }
        assert table["head"].to_pylist() == [head for head in chosen for _ in query]
        assert table["query"].to_pylist() == list(query) * len(chosen)
        assert table["key"].to_pylist() == list(key) * len(chosen)
        np.testing.assert_array_equal(table["logit"], np.concatenate([values[head, query, key] for head in chosen]))


@pytest.mark.parametrize("length", [1, 2, 16, 17, 100, 1000, 8192])
@pytest.mark.parametrize("cells", [136, 1000, 65536])
def test_a_sample_is_evenly_spaced_and_no_larger_than_asked(length, cells):
    positions = sample_positions(length, cells)
    (stride,) = set(np.diff(positions).tolist()) or {1}
    assert positions[0] == 0 and positions[-1] + stride >= length
    assert len(positions) * (len(positions) + 1) // 2 <= cells
    # A smaller stride would hold too many.
    if stride > 1:
        finer = len(range(0, length, stride - 1))
        assert finer * (finer + 1) // 2 > cells


def test_a_sample_has_the_logits_of_its_positions():
    features = [some_features(4, layer) for layer in range(2)]
    for layer, table in zip(features, dump_logits(features, ROTARIES, [1, 3], 6), strict=True):
        values = logits(layer.query, layer.key, ROTARIES[layer.layer])
        rows = table.to_pylist()
        assert [(row["head"], row["query"], row["key"]) for row in rows] == [
            (head, query, key) for head in (1, 3) for query in (0, 2, 4) for key in range(0, query + 1, 2)
        ]
        for row in rows:
            assert row["logit"] == pytest.approx(values[row["head"], row["query"], row["key"]], rel=1e-6, abs=1e-6)


def test_a_head_out_of_range_is_named():
    with pytest.raises(UserError, match=r"logits\.heads \[4, 7\] are out of range: the model has heads 0 to 3"):
        list(dump_logits([some_features(0, 0)], ROTARIES, [0, 4, 7]))


def test_nothing_is_computed_before_it_is_asked_for():
    def features():
        yield some_features(0, 0)
        raise AssertionError("read too far")

    assert next(dump_logits(features(), ROTARIES, None))["layer"][0].as_py() == 0


# The file


def test_a_row_group_is_a_sequence_and_layer_with_streams_split_by_byte(tmp_path):
    path = tmp_path / "logits.parquet"
    features = [some_features(sequence, layer) for sequence in (4, 9) for layer in range(2)]
    with writer(path, {"model": "tiny"}) as out:
        for table in dump_logits(features, ROTARIES, None):
            out.write_table(table, row_group_size=len(table))
    assert parquet.read_metadata(path) == {"model": "tiny"}
    with pq.ParquetFile(path) as file:
        assert file.schema_arrow.remove_metadata() == LOGITS
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    bounds = [
        tuple((column.statistics.min, column.statistics.max) for column in (group.column(0), group.column(1)))
        for group in groups
    ]
    assert bounds == [((sequence,) * 2, (layer,) * 2) for sequence in (4, 9) for layer in range(2)]
    for group in groups:
        columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
        assert {column.compression for column in columns.values()} == {"ZSTD"}
        assert "BYTE_STREAM_SPLIT" in columns.pop("logit").encodings
        assert all("RLE_DICTIONARY" in column.encodings for column in columns.values())


def test_the_index_columns_take_almost_no_room(tmp_path):
    """Of 3.6 bytes a row, the logit itself needs nearly all; the longer the sequence, the less the rest takes."""
    path = tmp_path / "logits.parquet"
    values = np.random.default_rng(0).standard_normal((4, 128, 128)).astype(np.float32)
    with writer(path, {}) as out:
        table = CausalCells([0, 1, 2, 3], np.arange(128)).table(0, 0, values)
        out.write_table(table, row_group_size=len(table))
    group = pq.read_metadata(path).row_group(0)
    sizes = {group.column(n).path_in_schema: group.column(n).total_compressed_size for n in range(group.num_columns)}
    assert sum(sizes.values()) - sizes["logit"] < 0.2 * len(table)


def test_a_table_of_another_schema_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), writer(tmp_path / "logits.parquet", {}) as out:
        out.write_table(pa.table({"logit": [1.0]}))
    assert not list(tmp_path.iterdir())
