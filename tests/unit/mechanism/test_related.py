"""The measures of related papers, on vectors whose answer is known."""

import numpy as np
import pytest
import torch

from triaxis.attention.rope import Rotary, turns_over
from triaxis.mechanism.components import sizes, to_components
from triaxis.mechanism.measure import Mechanism
from triaxis.mechanism.patterns import shapes_of
from triaxis.mechanism.related import (
    attention_of,
    counted_distances,
    diagonal_sums,
    energies,
    massive_value,
    offset_features,
    rank_one_share,
    slash_scores,
)
from triaxis.mechanism.schema import RELATED
from unit.mechanism.tables import tables_of
from unit.vectors import LENGTH, ROTARIES, dense_logits, make_features, make_rotary


def rows_of(layer, rotary, queries: int = LENGTH):
    return tables_of(Mechanism(LENGTH, 2, queries), [layer], {layer.layer: rotary})["related"]


def random_vectors(heads: int, length: int, dims: int = 6) -> torch.Tensor:
    return torch.randn(heads, length, dims, dtype=torch.float64, generator=torch.Generator().manual_seed(length))


def dense_attention(query: np.ndarray, key: np.ndarray) -> np.ndarray:
    """(length, length): the causal softmax of one head."""
    logits = np.where(np.tri(len(query)), query @ key.T, -np.inf)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def test_attention_is_causal_and_of_the_queries_asked_for():
    query, key = random_vectors(4, 9), random_vectors(2, 9, 6) * 10
    chosen = torch.tensor([0, 3, 8])
    attention = attention_of(query[:, chosen], key, chosen)
    for head in range(4):
        np.testing.assert_allclose(attention[head], dense_attention(query[head], key[head // 2])[chosen], atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_diagonal_sums(length):
    matrix = np.tril(np.random.default_rng(0).standard_normal((length, length)))
    found = diagonal_sums(torch.from_numpy(matrix)[None], torch.arange(length), length)[0]
    np.testing.assert_allclose(found, [np.trace(matrix, -d) for d in range(length)], atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 9, 24])
def test_of_all_queries_the_counted_distances_are_those_of_half_the_length(length):
    assert counted_distances(torch.arange(length)) == (length + 1) // 2


@pytest.mark.parametrize("queries", [[0, 4, 8], [8], list(range(9)), [2, 3, 5, 8]])
@pytest.mark.parametrize("cells", [10, 10**6])
def test_slash_scores_are_means_over_the_queries_that_have_the_distance(queries, cells, monkeypatch):
    """More than half of the queries, in one piece or several; the first key's cell leaves the second mean."""
    monkeypatch.setattr("triaxis.mechanism.related.CELLS", cells)
    query, key = random_vectors(2, 9), random_vectors(1, 9)
    chosen = torch.tensor(queries)
    found = slash_scores(query[:, chosen], key, chosen)
    for head in range(2):
        attention = dense_attention(query[head], key[0])
        for d in range(max(queries) + 1):
            have = [i for i in queries if i >= d]
            if 2 * len(have) <= len(queries):
                assert found[0].shape[1] <= d
                continue
            rest = [attention[i, i - d] for i in have if i > d]
            assert found[0][head, d] == pytest.approx(np.mean([attention[i, i - d] for i in have]))
            assert found[1][head, d] == pytest.approx(np.mean(rest) if rest else 0)


def test_rank_one_share():
    generator = np.random.default_rng(0)
    one = np.outer(generator.standard_normal(20), generator.standard_normal(6))
    any_ = generator.standard_normal((20, 6))
    singular = np.linalg.svd(any_, compute_uv=False) ** 2
    vectors = torch.from_numpy(np.stack([one, any_, 0 * one]))
    found = rank_one_share(energies(vectors))
    assert found[:2].tolist() == pytest.approx([1, singular[0] / singular.sum()]) and found[2].isnan()
    assert rank_one_share(energies(torch.eye(5, dtype=torch.float64)[None])).tolist() == pytest.approx([1 / 5])


def test_massive_values_are_norms_of_dimensions():
    vectors = torch.ones(2, 10, 4, dtype=torch.float64)
    vectors[0, :, 2], vectors[1] = -7, 0
    ratio, dimension = massive_value(energies(vectors))
    assert dimension[0] == 2 and ratio[0] == pytest.approx(7 / ((7 + 3) / 4))
    assert ratio[1].isnan() and dimension[1].isnan()


def test_offset_features_turn_less_than_once_and_are_constant():
    """Three pairs: one fast and constant, one slow and constant, one slow and scattered. Only the second is one."""
    rotary = Rotary(1.0, 1.0, np.arange(3), np.arange(3, 6), np.array([1.0, 0.01, 0.01]), np.arange(0))
    key = torch.ones(1, LENGTH, 6, dtype=torch.float64)
    key[..., [2, 5]] *= torch.where(torch.arange(LENGTH) % 2 == 1, 1, -1)[:, None]
    pairs = to_components(key, rotary)
    shape = shapes_of(pairs, sizes(pairs))[0]
    count, share = offset_features(shape, torch.from_numpy(turns_over(rotary, LENGTH)))
    assert count.tolist() == [1] and share.tolist() == pytest.approx([1 / 3])
    none = shapes_of(pairs[..., :0], sizes(pairs[..., :0]))[0]
    assert all(values.isnan().all() for values in offset_features(none, torch.zeros(0)))


@pytest.mark.parametrize("name", ROTARIES)
@pytest.mark.parametrize("queries", [LENGTH, 7])
def test_the_rows_of_a_layer(name, queries):
    rotary = ROTARIES[name]
    layer = make_features(rotary)
    table = rows_of(layer, rotary, queries)
    assert table.schema == RELATED
    assert table["head"].to_pylist() == [*range(4), *range(4)]
    assert table["first_token"].to_pylist() == [True] * 4 + [False] * 4
    assert table["offset_share"].null_count == (8 if name == "nothing turns" else 0)
    cells = dense_logits(layer.query[1], layer.key[0], rotary, range(LENGTH))
    query, key = np.tril_indices(LENGTH)
    matrix = np.full((LENGTH, LENGTH), -np.inf)
    matrix[query, key] = cells[query, query - key, key]
    weights = np.exp(matrix - matrix.max(1, keepdims=True))
    attention = weights / weights.sum(1, keepdims=True)
    chosen = np.arange(queries) * (LENGTH - 1) // (queries - 1)
    scores = [
        np.mean([attention[i, i - d] for i in chosen if i >= d])
        for d in range(LENGTH)
        if 2 * (chosen >= d).sum() > queries
    ]
    assert table["slash_score"][1].as_py() == pytest.approx(max(scores), rel=1e-4)
    assert table["slash_distance"][1].as_py() == int(np.argmax(scores))


def test_columns_agree_with_their_functions():
    rotary = make_rotary()
    layer = make_features(rotary)
    row = rows_of(layer, rotary).to_pylist()[4 + 3]
    query, key = (energies(torch.from_numpy(x[None, 1:]).double()) for x in (layer.query[3], layer.key[1]))
    assert row["key_rank_one"] == pytest.approx(float(rank_one_share(key)))
    assert row["query_rank_one"] == pytest.approx(float(rank_one_share(query)))
    assert (row["query_massive"], row["query_massive_dimension"]) == pytest.approx(
        tuple(map(float, massive_value(query)))
    )
