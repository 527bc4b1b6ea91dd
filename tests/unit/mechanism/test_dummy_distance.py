"""The dummy-distance matrices, against a dense least-squares refit of each."""

import numpy as np
import pytest
import torch

from triaxis.fit.axes import Design, fix_gauge
from triaxis.mechanism.complex_form import heads_as_components
from triaxis.mechanism.components import turns_at
from triaxis.mechanism.dummy_distance import key_correlation, key_spectrum, true_totals
from triaxis.mechanism.measure import Mechanism
from triaxis.mechanism.schema import DUMMIES
from unit.mechanism.tables import column, tables_of
from unit.vectors import LENGTH, ROTARIES, dense_logits, make_features

CAUSAL = np.tril(np.ones((LENGTH, LENGTH), dtype=bool))
DISTANCES = [0, 5, 11, 17, LENGTH - 1]  # five, evenly spaced


@pytest.fixture(params=ROTARIES)
def rotary(request):
    return ROTARIES[request.param]


def rows_of(layer, rotary):
    return tables_of(Mechanism(LENGTH, len(DISTANCES)), [layer], {layer.layer: rotary})["dummies"]


def lstsq(cells: np.ndarray, with_distance: bool) -> np.ndarray:
    """Least squares of the causal cells of a matrix (length, length), real or complex, on indicator columns: (3,
    length)."""
    length = len(cells)
    query, key = np.nonzero(np.tril(np.ones((length, length))))
    eye = np.eye(length)
    columns = np.concatenate([with_distance * eye[query - key], eye[query], eye[key]], axis=1).astype(cells.dtype)
    return np.linalg.lstsq(columns, cells[query, key], rcond=None)[0].reshape(3, length)


def dense_fit(matrix: np.ndarray, with_distance: bool) -> np.ndarray:
    """Components (3, length) in the stated gauge."""
    return fix_gauge(torch.from_numpy(lstsq(matrix, with_distance))[None], Design(LENGTH).counts)[0].numpy()


def true_matrix(query, key, rotary) -> np.ndarray:
    rotated = (rotary.rotate(x, np.arange(LENGTH)) for x in (query, key))
    return rotary.scale * np.matmul(*(x if n == 0 else x.T for n, x in enumerate(rotated)))


def test_sums_of_the_true_matrix(rotary):
    layer = make_features(rotary)
    turn = turns_at(rotary, torch.arange(LENGTH))
    for head, query, key in heads_as_components(layer, rotary):
        matrix = np.tril(true_matrix(layer.query[head], layer.key[head // 2], rotary))
        dense = [[np.trace(matrix, -d) for d in range(LENGTH)], matrix.sum(1), matrix.sum(0)]
        totals = true_totals(*(torch.from_numpy(x) * turn for x in (query, key)))
        np.testing.assert_allclose(totals, dense, rtol=0, atol=1e-10)


@pytest.mark.parametrize("length", [1, 2, 3, 40])
def test_the_fit_of_queries_and_keys_needs_no_solving(length):
    """The key component of q_i conj(k_j), up to a constant, is that of least squares."""
    query, key = torch.randn(2, length, 3, dtype=torch.complex128, generator=torch.Generator().manual_seed(length))
    found = key_spectrum(query, key).numpy()
    for m in range(3):
        expected = lstsq(np.multiply.outer(query[:, m].numpy(), key[:, m].numpy().conj()), False)[2]
        np.testing.assert_allclose(found[:, m] - found[0, m], expected - expected[0], rtol=0, atol=1e-12)


def test_the_key_component_of_a_dummy_matrix_is_that_of_a_dense_refit(rotary):
    layer = make_features(rotary)
    turn = turns_at(rotary, torch.tensor(DISTANCES))
    for head, query, key in heads_as_components(layer, rotary):
        components = (turn @ key_spectrum(*(torch.from_numpy(x) for x in (query, key))).mT).real.numpy()
        matrices = dense_logits(layer.query[head], layer.key[head // 2], rotary, DISTANCES).swapaxes(0, 1)
        for component, matrix in zip(components, matrices, strict=True):
            expected = lstsq(matrix, False)[2]
            np.testing.assert_allclose(component - component[0], expected - expected[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["full", "partial", "amplitude", "one pair"])
def test_the_rows_of_a_layer_are_those_of_dense_refits(name):
    rotary = ROTARIES[name]
    layer = make_features(rotary)
    table = rows_of(layer, rotary)
    assert table.schema == DUMMIES
    assert table["distance"].to_pylist() == DISTANCES * 4
    weight = CAUSAL.sum(0) / CAUSAL.sum()
    for row in table.to_pylist():
        query, key = layer.query[row["head"]], layer.key[row["head"] // 2]
        matrix = dense_logits(query, key, rotary, [row["distance"]])[:, 0]
        true = dense_fit(true_matrix(query, key, rotary), True)
        assert row["mean"] == pytest.approx(matrix[CAUSAL].mean(), abs=1e-10)
        assert row["component"] == pytest.approx(true[0][row["distance"]], abs=1e-8)
        pair = np.stack([dense_fit(matrix, False)[2], true[2]])
        covariance = np.cov(pair, aweights=weight, bias=True)
        expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        assert row["key_correlation"] == pytest.approx(expected, abs=1e-8)


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
    table = rows_of(layer, rotary)
    np.testing.assert_allclose(column(table, "key_correlation"), 1, atol=1e-6)
    difference = np.diff(column(table, "mean") - column(table, "component")) / np.diff(DISTANCES)
    np.testing.assert_allclose(difference, difference[0], atol=1e-6)  # a_d up to the gauge's linear trend


def test_a_layer_without_rotary_dimensions_has_one_row_a_head():
    rotary = ROTARIES["nothing turns"]
    layer = make_features(rotary)
    table = rows_of(layer, rotary)
    assert len(table) == 4
    assert table["distance"].null_count == table["key_correlation"].null_count == table["component"].null_count == 4
    matrix = true_matrix(layer.query[0], layer.key[0], rotary)
    assert table["mean"][0].as_py() == pytest.approx(matrix[CAUSAL].mean(), abs=1e-10)


def test_a_constant_component_has_no_correlation():
    """One side or the other: the keys of the second head are all alike, and the third's true matrix is constant."""
    weight = torch.from_numpy(CAUSAL.sum(0) / CAUSAL.sum())
    spectrum = torch.randn(3, LENGTH, 2, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    spectrum[1] = 1.5
    true = torch.randn(3, 3, LENGTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    true[2, 2] = 1e-12
    turn = torch.polar(torch.ones(4, 2).double(), torch.arange(8).reshape(4, 2).double())
    found = key_correlation(spectrum, turn, true, weight)
    assert found[0].isfinite().all() and found[1].isnan().all() and found[2].isnan().all()
