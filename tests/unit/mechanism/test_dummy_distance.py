"""The dummy-distance matrices, against a dense least-squares refit of each."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate

from triaxis.base.stats import weighted_correlation
from triaxis.fit.axes import Design, fix_gauge
from triaxis.mechanism.complex_form import heads_as_components, turns_at
from triaxis.mechanism.dummy_distance import distance_sums, fit_layer, key_spectrum, key_sums, query_sums, true_totals
from triaxis.mechanism.schema import DUMMIES
from unit.vectors import LENGTH, ROTARIES, dense_logits, make_features

CAUSAL = np.tril(np.ones((LENGTH, LENGTH), dtype=bool))
DISTANCES = np.array([0, 1, 5, LENGTH - 1])


@pytest.fixture(params=ROTARIES)
def rotary(request):
    return ROTARIES[request.param]


def dense_fit(matrix: np.ndarray, with_distance: bool) -> np.ndarray:
    """lstsq of a matrix's causal cells on indicator columns: components (3, length) in the stated gauge."""
    query, key = np.nonzero(CAUSAL)
    eye = np.eye(LENGTH)
    distance = eye[query - key] if with_distance else 0 * eye[query]
    columns = np.concatenate([distance, eye[query], eye[key]], axis=1)
    solution = np.linalg.lstsq(columns, matrix[query, key], rcond=None)[0]
    return fix_gauge(torch.from_numpy(solution.reshape(1, 3, LENGTH)), Design(LENGTH).counts)[0].numpy()


def true_matrix(query, key, rotary) -> np.ndarray:
    rotated = (rotary.rotate(x, np.arange(LENGTH)) for x in (query, key))
    return rotary.scale * np.matmul(*(x if n == 0 else x.T for n, x in enumerate(rotated)))


def test_sums_of_the_true_matrix(rotary):
    layer = make_features(rotary)
    for head, query, key in heads_as_components(layer, rotary):
        matrix = np.tril(true_matrix(layer.query[head], layer.key[head // 2], rotary))
        dense = [[np.trace(matrix, -d) for d in range(LENGTH)], matrix.sum(1), matrix.sum(0)]
        totals = true_totals(query, key, turns_at(rotary, np.arange(LENGTH)))
        np.testing.assert_allclose(totals, dense, rtol=0, atol=1e-10)


def test_running_sums_and_correlations():
    query, key = np.random.default_rng(0).standard_normal((2, 9, 3)) + 0.5j
    products = query[:, None] * key.conj()[None]
    causal = np.tril(np.ones((9, 9)))[..., None]
    np.testing.assert_allclose(query_sums(query, key), (products * causal).sum(1), atol=1e-12)
    np.testing.assert_allclose(key_sums(query, key), (products * causal).sum(0), atol=1e-12)
    by_component = [correlate(query[:, m], key[:, m])[8:] for m in range(3)]
    np.testing.assert_allclose(distance_sums(query, key), np.transpose(by_component), atol=1e-12)


def test_the_key_component_of_a_dummy_matrix_is_that_of_a_dense_refit(rotary):
    layer, design = make_features(rotary), Design(LENGTH)
    turn = turns_at(rotary, DISTANCES)
    for head, query, key in heads_as_components(layer, rotary):
        components = (turn @ key_spectrum(query, key, design)).real
        matrices = dense_logits(layer.query[head], layer.key[head // 2], rotary, DISTANCES).swapaxes(0, 1)
        for component, matrix in zip(components, matrices, strict=True):
            np.testing.assert_allclose(component, dense_fit(matrix, False)[2], rtol=0, atol=1e-9)


def test_the_rows_of_a_layer_are_those_of_dense_refits():
    rotary = ROTARIES["amplitude"]
    layer, design = make_features(rotary), Design(LENGTH)
    table = fit_layer(layer, rotary, DISTANCES, design)
    assert table.schema == DUMMIES
    assert table["distance"].to_pylist() == DISTANCES.tolist() * 4
    weight = CAUSAL.sum(0) / CAUSAL.sum()
    for row in table.to_pylist():
        query, key = layer.query[row["head"]], layer.key[row["head"] // 2]
        matrix = dense_logits(query, key, rotary, [row["distance"]])[:, 0]
        true = dense_fit(true_matrix(query, key, rotary), True)
        assert row["mean"] == pytest.approx(matrix[CAUSAL].mean(), abs=1e-10)
        assert row["component"] == pytest.approx(true[0][row["distance"]], abs=1e-9)
        pair = np.stack([dense_fit(matrix, False)[2], true[2]])
        covariance = np.cov(pair, aweights=weight, bias=True)
        expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        assert row["key_correlation"] == pytest.approx(expected, abs=1e-9)


def test_an_additive_matrix_keeps_its_key_component_at_every_distance():
    """q = (1, x_i, turning part), k = (y_j, 1, constant part): w = x_i + y_j + position, whatever the distance.

    Short of that the two fits differ even where nothing turns: only the true one has a distance axis to fit.
    """
    rotary = ROTARIES["partial"]
    layer = make_features(rotary, 1, 1)
    layer.query[..., rotary.unrotated], layer.key[..., rotary.unrotated] = 0, 0
    layer.query[..., rotary.unrotated[0]], layer.key[..., rotary.unrotated[1]] = 1, 1
    layer.query[..., rotary.unrotated[1]] = layer.key[..., rotary.unrotated[0]] = np.random.default_rng(0).normal(
        0, 5, LENGTH
    )
    turning = np.concatenate([rotary.real, rotary.imaginary])
    layer.query[..., turning], layer.key[..., turning] = 0.7, -1.1
    table = fit_layer(layer, rotary, DISTANCES, Design(LENGTH))
    np.testing.assert_allclose(table["key_correlation"].to_numpy(), 1, atol=1e-6)
    difference = np.diff(table["mean"].to_numpy() - table["component"].to_numpy()) / np.diff(DISTANCES)
    np.testing.assert_allclose(difference, difference[0], atol=1e-6)  # a_d up to the gauge's linear trend


def test_a_layer_without_rotary_dimensions_has_one_row_a_head():
    rotary = ROTARIES["nothing turns"]
    layer = make_features(rotary)
    table = fit_layer(layer, rotary, DISTANCES, Design(LENGTH))
    assert len(table) == 4
    assert table["distance"].null_count == table["key_correlation"].null_count == table["component"].null_count == 4
    matrix = true_matrix(layer.query[0], layer.key[0], rotary)
    assert table["mean"][0].as_py() == pytest.approx(matrix[CAUSAL].mean(), abs=1e-10)


def test_a_constant_component_has_no_correlation():
    values = weighted_correlation(np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 4.0]]), np.array([2.0, 4.0, 8.0]), np.ones(3))
    assert np.isnan(values[0]) and values[1] == pytest.approx(1)
