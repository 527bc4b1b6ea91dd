"""Where heads look: each measure beside its definition on whole attention matrices."""

import numpy as np
import pytest
import torch

from triaxis.heads.attention import attention_of, counted_distances, diagonal_sums, looks, repeats
from triaxis.heads.measure import attention_rows, prompt_rows
from triaxis.heads.schema import HEAD_ATTENTION, PROMPT_SCORES
from triaxis.mechanism.heads import batches
from unit.vectors import LENGTH, ROTARIES, dense_logits, make_features


def random_vectors(heads: int, length: int, dims: int = 6) -> torch.Tensor:
    return torch.randn(heads, length, dims, dtype=torch.float64, generator=torch.Generator().manual_seed(length))


def softmax(logits: np.ndarray) -> np.ndarray:
    """(length, length): the causal softmax of one head's logits."""
    logits = np.where(np.tri(len(logits)), logits, -np.inf)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def dense_attention(query: np.ndarray, key: np.ndarray) -> np.ndarray:
    return softmax(query @ key.T)


def dense_looks(attention: np.ndarray, queries: list[int]) -> dict[str, float]:
    """Every measure of one head, a query and a key at a time."""
    later = [i for i in queries if i > 0]
    rows = {i: [float(attention[i, j]) for j in range(i + 1)] for i in later}
    scores = {
        d: np.mean([attention[i, i - d] for i in queries if i >= d])
        for d in range(len(attention))
        if 2 * sum(i >= d for i in queries) > len(queries)
    }
    best = max(scores, key=scores.get)
    return {
        "first_key": np.mean([row[0] for row in rows.values()]),
        "sink_share": np.mean([row[0] > 0.3 for row in rows.values()]),
        "previous_token": np.mean([row[i - 1] for i, row in rows.items()]),
        "entropy": np.mean([-sum(p * np.log(p) for p in row) for row in rows.values()]),
        "distance_attended": np.mean([sum(p * (i - j) for j, p in enumerate(row)) for i, row in rows.items()]),
        "slash_score": scores[best],
        "slash_distance": best,
    }


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
def test_where_a_head_looks_is_a_mean_over_queries(queries, cells, monkeypatch):
    """In one piece or several."""
    monkeypatch.setattr("triaxis.heads.attention.CELLS", cells)
    query, key = random_vectors(2, 9), random_vectors(1, 9)
    chosen = torch.tensor(queries)
    found = looks(query[:, chosen], key, chosen)
    for head in range(2):
        expected = dense_looks(dense_attention(query[head], key[0]), queries)
        assert {name: float(values[head]) for name, values in found.items()} == pytest.approx(expected)


def test_a_token_alone_looks_nowhere_else():
    found = looks(random_vectors(2, 1), random_vectors(1, 1), torch.tensor([0]))
    assert found["first_key"].isnan().all() and found["entropy"].isnan().all()
    assert found["slash_score"].tolist() == [1, 1]


@pytest.mark.parametrize("cells", [10, 10**6])
def test_repeats_are_of_the_second_half_alone(cells, monkeypatch):
    """A prompt of one special token and twice 5 others."""
    monkeypatch.setattr("triaxis.heads.attention.CELLS", cells)
    query, key = random_vectors(2, 11) * 2, random_vectors(1, 11)
    found = repeats(query, key, 5)
    for head in range(2):
        attention = dense_attention(query[head], key[0])
        second = range(6, 11)
        assert float(found["duplicate_token"][head]) == pytest.approx(np.mean([attention[i, i - 5] for i in second]))
        assert float(found["induction"][head]) == pytest.approx(np.mean([attention[i, i - 4] for i in second]))


@pytest.mark.parametrize("name", ROTARIES)
@pytest.mark.parametrize("queries", [LENGTH, 7])
def test_the_rows_of_a_layer(name, queries):
    rotary = ROTARIES[name]
    layer = make_features(rotary)
    (heads,) = batches([layer], {layer.layer: rotary})
    table = attention_rows(heads, queries)
    assert table.schema == HEAD_ATTENTION
    assert table["head"].to_pylist() == list(range(4))
    cells = dense_logits(layer.query[1], layer.key[0], rotary, range(LENGTH))
    query, key = np.tril_indices(LENGTH)
    matrix = np.full((LENGTH, LENGTH), -np.inf)
    matrix[query, key] = cells[query, query - key, key]
    attention = softmax(matrix)
    expected = dense_looks(attention, [i * (LENGTH - 1) // (queries - 1) for i in range(queries)])
    row = table.slice(1, 1).to_pylist()[0]
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    prompts = prompt_rows(heads, 10)
    assert prompts.schema == PROMPT_SCORES
    induction = np.mean([attention[i, i - 9] for i in range(LENGTH - 10, LENGTH)])
    assert prompts["induction"][1].as_py() == pytest.approx(induction, rel=1e-4)
