"""The measures of related papers, on vectors whose answer is known."""

import numpy as np
import pytest

from triaxis.attention.rope import Rotary
from triaxis.mechanism.related import (
    diagonal_sums,
    massive_value,
    offset_features,
    rank_one_share,
    relate_layer,
    slash_scores,
    softmax,
)
from triaxis.mechanism.schema import RELATED
from unit.vectors import LENGTH, ROTARIES, dense_logits, make_features, make_rotary


def test_softmax_is_causal_and_its_rows_sum_to_one():
    values = np.random.default_rng(0).normal(0, 30, (9, 9)).astype(np.float32)
    attention = softmax(values)
    np.testing.assert_allclose(attention.sum(1), 1, atol=1e-6)
    assert not np.triu(attention, 1).any()
    row = np.exp(values[5, :6].astype(float) - values[5, :6].max())
    np.testing.assert_allclose(attention[5, :6], row / row.sum(), atol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_diagonal_sums(length):
    matrix = np.tril(np.random.default_rng(0).standard_normal((length, length)))
    np.testing.assert_allclose(diagonal_sums(matrix), [np.trace(matrix, -d) for d in range(length)], atol=1e-12)


def test_a_slash_is_found_at_its_distance():
    attention = np.eye(LENGTH, k=-3) + np.diag(np.arange(LENGTH) < 3)
    scores = slash_scores(attention, True)
    assert scores.argmax() == 3 and scores[3] == pytest.approx(1)
    assert len(scores) == LENGTH // 2


def test_a_sink_is_no_slash_without_the_first_token():
    attention = np.zeros((LENGTH, LENGTH))
    attention[:, 0] = 1
    assert slash_scores(attention, True).max() > 0
    assert slash_scores(attention, False).max() == 0


def test_slash_scores_are_means_over_queries():
    attention = softmax(np.random.default_rng(0).standard_normal((9, 9)).astype(np.float32))
    for first, start in ((True, 0), (False, 1)):
        expected = [np.diagonal(attention, -d)[start:].mean() for d in range(5)]
        np.testing.assert_allclose(slash_scores(attention, first), expected, rtol=1e-6)


def test_rank_one_share():
    generator = np.random.default_rng(0)
    one = np.outer(generator.standard_normal(20), generator.standard_normal(6))
    assert rank_one_share(one) == pytest.approx(1)
    assert rank_one_share(np.eye(5)) == pytest.approx(1 / 5)
    any_ = generator.standard_normal((20, 6))
    singular = np.linalg.svd(any_, compute_uv=False) ** 2
    assert rank_one_share(any_) == pytest.approx(singular[0] / singular.sum())
    assert np.isnan(rank_one_share(np.zeros((3, 3))))


def test_massive_values_are_norms_of_dimensions():
    vectors = np.ones((10, 4))
    vectors[:, 2] = -7
    ratio, dimension = massive_value(vectors)
    assert dimension == 2 and ratio == pytest.approx(7 / ((7 + 3) / 4))


def test_offset_features_turn_less_than_once_and_are_constant():
    """Three pairs: one fast and constant, one slow and constant, one slow and scattered. Only the second is one."""
    rotary = Rotary(1.0, 1.0, np.arange(3), np.arange(3, 6), np.array([1.0, 0.01, 0.01]), np.arange(0))
    key = np.ones((LENGTH, 6))
    key[:, [2, 5]] *= np.where(np.arange(LENGTH) % 2, 1, -1)[:, None]
    count, share = offset_features(key, rotary, LENGTH)
    assert count == 1 and share == pytest.approx(1 / 3)
    assert all(np.isnan(offset_features(np.ones((4, 6)), ROTARIES["nothing turns"], 4)))


@pytest.mark.parametrize("name", ROTARIES)
def test_the_rows_of_a_layer(name):
    rotary = ROTARIES[name]
    layer = make_features(rotary)
    table = relate_layer(layer, rotary)
    assert table.schema == RELATED
    assert table["head"].to_pylist() == [*range(4), *range(4)]
    assert table["first_token"].to_pylist() == [True] * 4 + [False] * 4
    assert table["offset_share"].null_count == (8 if name == "nothing turns" else 0)
    cells = dense_logits(layer.query[1], layer.key[0], rotary, range(LENGTH))
    query, key = np.tril_indices(LENGTH)
    matrix = np.zeros((LENGTH, LENGTH))
    matrix[query, key] = cells[query, query - key, key]
    scores = slash_scores(softmax(matrix.astype(np.float32)), True)
    assert table["slash_score"][1].as_py() == pytest.approx(scores.max(), rel=1e-4)
    assert table["slash_distance"][1].as_py() == scores.argmax()


def test_columns_agree_with_their_functions():
    rotary = make_rotary()
    layer = make_features(rotary)
    row = relate_layer(layer, rotary).to_pylist()[4 + 3]
    assert row["key_rank_one"] == pytest.approx(rank_one_share(layer.key[1, 1:].astype(float)))
    assert row["query_rank_one"] == pytest.approx(rank_one_share(layer.query[3, 1:].astype(float)))
    assert (row["query_massive"], row["query_massive_dimension"]) == massive_value(layer.query[3, 1:].astype(float))
