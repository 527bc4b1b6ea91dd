"""Where heads look, against the whole attention matrix."""

import numpy as np
import pytest
from scipy.stats import entropy

from triaxis.attention.rope import Rotary
from triaxis.logits.features import Features
from triaxis.logits.logits import logits
from triaxis.training import attention
from triaxis.training.attention import look_back, look_back_of_layer, uniform


@pytest.fixture
def rotary() -> Rotary:
    return Rotary(0.35, 1.2, np.arange(3), np.arange(3, 6), np.array([1.0, 0.3, 0.01]), np.array([6, 7]))


def vectors(heads: int, length: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(heads, length, 8)).astype(np.float32)


@pytest.mark.parametrize("length", [2, 5, 8, 9, 17])
def test_it_is_the_mean_of_two_cells_and_the_entropy_of_each_row(rotary, length, monkeypatch):
    monkeypatch.setattr(attention, "CHUNK", 4)
    query, key = vectors(4, length, 0), vectors(2, length, 1)
    weights = logits(query, key, rotary).astype(np.float64)
    weights[:, ~np.tri(length, dtype=bool)] = -np.inf
    weights = np.exp(weights - weights.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    rows = np.arange(1, length)
    entropies = entropy(weights, axis=-1)[:, 1:].mean(1)
    expected = [weights[:, rows, rows - 1].mean(1), weights[:, rows, 0].mean(1), entropies]
    np.testing.assert_allclose(look_back(query, key, rotary), expected, rtol=1e-5)


def test_a_head_that_looks_at_all_alike_gives_the_uniform_share(rotary):
    found = look_back(np.zeros((2, 30, 8), np.float32), vectors(1, 30, 1), rotary)
    np.testing.assert_allclose(found[:2], uniform(30))
    np.testing.assert_allclose(found[2], np.log(np.arange(2, 31)).mean(), rtol=1e-6)
    assert uniform(3) == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_rows_are_heads(rotary):
    table = look_back_of_layer(Features(3, 1, vectors(4, 9, 0), vectors(2, 9, 1)), rotary)
    assert table["head"].to_pylist() == [0, 1, 2, 3] and set(table["sequence"].to_pylist()) == {3}
    np.testing.assert_array_equal(table["previous"], look_back(vectors(4, 9, 0), vectors(2, 9, 1), rotary)[0])
