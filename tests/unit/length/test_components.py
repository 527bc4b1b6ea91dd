"""Distance components past the training length: thinned fits against dense ones, and extrapolation that must hold."""

import numpy as np
import pytest

from triaxis.attention.rope import Rotary
from triaxis.length.components import Continued, align, continuation, to_table
from triaxis.length.strided import continue_components, distance_component, stride_of
from triaxis.logits.logits import logits

FREQUENCY = 500.0 ** -(np.arange(4) / 4)
ROTARY = Rotary(0.3, 1.2, np.arange(4), np.arange(4, 8), FREQUENCY, np.array([], dtype=np.int64))


def vectors(length: int, seed: int = 0, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    query, key = (3 + spread * generator.standard_normal((heads, length, 8)) for heads in (4, 2))
    return query.astype(np.float32), key.astype(np.float32)


def test_thinning_keeps_the_logits_of_the_positions_that_stay():
    query, key = vectors(300)
    found = continue_components(query, key, ROTARY, 200)
    stride = stride_of(300)
    whole = logits(query, key, ROTARY)[:, ::stride, ::stride]
    np.testing.assert_array_equal(found.distance, np.arange(0, 300, stride))
    np.testing.assert_allclose(found.whole, distance_component(whole.astype(np.float64)), atol=1e-4)
    n = len(found.distance[found.distance < 200])
    np.testing.assert_allclose(found.inside[:, :n], distance_component(whole[:, :n, :n].astype(np.float64)), atol=1e-4)
    assert np.isnan(found.inside[:, n:]).all()


def test_the_fit_is_that_of_a_dense_least_squares():
    matrix = np.random.default_rng(0).standard_normal((1, 12, 12))
    query, key = np.tril_indices(12)
    design = np.zeros((len(query), 36))
    for axis, index in enumerate((query - key, query, key)):
        design[np.arange(len(query)), 12 * axis + index] = 1
    solution = np.linalg.lstsq(design, matrix[0][query, key], rcond=None)[0][:12]
    own = distance_component(matrix)[0]
    trend = np.stack([np.ones(12), np.arange(12)], axis=1)
    difference = own - solution
    assert np.abs(difference - trend @ np.linalg.lstsq(trend, difference, rcond=None)[0]).max() < 1e-9


def test_constant_queries_and_keys_are_predicted_exactly():
    query, key = vectors(300, spread=0.0)
    ahead = continuation(continue_components(query, key, ROTARY, 200), 200)
    np.testing.assert_allclose(ahead["r_closed"], 1, atol=1e-6)
    assert ahead["error_beyond"].max() < 1e-3


def test_keys_that_change_beyond_the_training_length_are_not_predicted():
    query, key = vectors(300, spread=0.2)
    own = continuation(continue_components(query, key, ROTARY, 200), 200)
    key[:, 200:] *= -1
    changed = continuation(continue_components(query, key, ROTARY, 200), 200)
    assert (changed["error_beyond"] > 3 * own["error_beyond"]).all()


def test_nothing_is_beyond_when_the_text_is_short():
    ahead = continuation(continue_components(*vectors(100), ROTARY, 200), 200)
    assert np.isnan(ahead["error_beyond"]).all() and np.isfinite(ahead["error_inside"]).all()


def test_alignment_takes_constant_and_trend_from_within_alone():
    x = np.arange(10.0)
    inside = x < 6
    curve, to = np.sin(x), np.sin(x) + 2 - 0.5 * x
    to[7] += 9
    aligned = align(curve, to, np.ones(10), inside)
    np.testing.assert_allclose(aligned[[0, 5, 8]], to[[0, 5, 8]])
    assert aligned[7] == pytest.approx(to[7] - 9)


def test_rows_name_every_head_and_distance_once():
    own = Continued(np.arange(3) * 5, 3 - np.arange(3), np.ones((2, 3)), np.full((2, 3), np.nan), np.zeros((2, 3)))
    rows = to_table("plain", 15, {1: own, 4: own}).to_pylist()
    assert len({(row["layer"], row["head"], row["distance"]) for row in rows}) == len(rows) == 12
    assert {row["inside"] for row in rows} == {None} and {row["cells"] for row in rows} == {1, 2, 3}
