"""The three-axis fit against dense least squares, and what the gauge, the null and the held-out cells promise."""

from functools import lru_cache
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triaxis.fit.axes import FORMED, Sums, designs, fit_axes, fix_gauge, null_space, parameters
from triaxis.fit.combinations import AXES, COMBINATIONS, FULL
from triaxis.fit.groups import draw_groups

LENGTHS = (8, 16, 31)
deterministic = settings(derandomize=True, deadline=None, max_examples=8)
seeds = st.integers(0, 2**32 - 1)
designs_of = lru_cache(designs)


def levels(length: int) -> np.ndarray:
    """(3, cells): the distance, query and key of each causal cell."""
    query, key = np.tril_indices(length)
    return np.stack([query - key, query, key])


def dummies(axes: str, length: int) -> np.ndarray:
    """(cells, unknowns): the design matrix of the fit, one column a level."""
    index = dict(zip(AXES, levels(length), strict=True))
    return np.hstack([np.eye(length)[index[axis]] for axis in axes.split("+")])


def sums_of(values: np.ndarray, length: int, chosen: np.ndarray | None = None) -> Sums:
    """The sums of matrices given by their causal cells (n, cells), or by a choice of them."""
    chosen = np.ones(values.shape[1], dtype=bool) if chosen is None else chosen
    totals = np.zeros((len(values), 3, length))
    for axis, index in enumerate(levels(length)):
        for matrix in range(len(values)):
            np.add.at(totals[matrix, axis], index[chosen], values[matrix, chosen])
    return Sums(torch.from_numpy(totals), torch.from_numpy((values[:, chosen] ** 2).sum(1)))


def heldout_cells(length: int, seed: int = 0) -> np.ndarray:
    """(cells,): which causal cells are held out."""
    return draw_groups(length, seed).hold_out(*np.tril_indices(length))


def fit(values: np.ndarray, length: int, axes: str, seed: int = 0):
    heldout = sums_of(values, length, heldout_cells(length, seed))
    return fit_axes(sums_of(values, length), heldout, *designs_of(length, seed), axes)


def fitted(coefficients: np.ndarray | torch.Tensor, length: int) -> np.ndarray:
    """(n, cells): the values that coefficients (n, 3, length) give."""
    return sum(np.asarray(coefficients)[:, axis, index] for axis, index in enumerate(levels(length)))


def gauged(coefficients: np.ndarray | torch.Tensor, length: int) -> np.ndarray:
    return fix_gauge(torch.as_tensor(coefficients), designs_of(length, 0)[0].counts).numpy()


def some_logits(seed: int, length: int, n: int = 3) -> np.ndarray:
    """(n, cells): components of random size, noise and an offset."""
    generator = np.random.default_rng(seed)
    sizes = 10 ** generator.uniform(-2, 1, (n, 3, 1))
    components = sizes * generator.standard_normal((n, 3, length))
    noise = 10 ** generator.uniform(-2, 1) * generator.standard_normal((n, len(levels(length)[0])))
    return fitted(components, length) + noise + generator.normal(0, 10)


def null_directions(length: int) -> np.ndarray:
    """(3, 3, length): two constants and the linear trend, as (distance, query, key)."""
    one, zero, ramp = np.ones(length), np.zeros(length), np.arange(length)
    return np.array([[one, -one, zero], [one, zero, -one], [ramp, -ramp, ramp]])


# Least squares


@pytest.mark.parametrize("formed", [0, FORMED], ids=["by steps", "by an inverse"])
@pytest.mark.parametrize("axes", COMBINATIONS)
@pytest.mark.parametrize("length", LENGTHS)
@deterministic
@given(seed=seeds)
def test_the_fit_equals_dense_least_squares(formed, axes, length, seed):
    values, design, heldout = some_logits(seed, length), dummies(axes, length), heldout_cells(length)
    expected = (design @ np.linalg.lstsq(design, values.T)[0]).T
    predicted = (design[heldout] @ np.linalg.lstsq(design[~heldout], values[:, ~heldout].T)[0]).T
    cells, free = len(design), np.linalg.matrix_rank(design.T @ design, hermitian=True)
    with patch("triaxis.fit.axes.FORMED", formed):
        found = fit(values, length, axes)
    np.testing.assert_allclose(fitted(found.coefficients, length), expected, rtol=0, atol=1e-8)
    for matrix in range(len(values)):
        r = np.corrcoef(values[matrix], expected[matrix])[0, 1]
        assert found.r[matrix] == pytest.approx(r, abs=1e-8)
        assert found.r2[matrix] == pytest.approx(r**2, abs=1e-8)
        adjusted = 1 - (1 - r**2) * (cells - 1) / (cells - free)
        assert found.adjusted_r2[matrix] == pytest.approx(adjusted, abs=1e-8 * cells)
        r = np.corrcoef(values[matrix, heldout], predicted[matrix])[0, 1]
        assert found.heldout_r[matrix] == pytest.approx(r, abs=1e-8)


def test_coefficients_of_axes_left_out_are_zero():
    coefficients = fit(some_logits(0, 16), 16, "query").coefficients
    assert not coefficients[:, [0, 2]].any() and coefficients[:, 1].any()


@pytest.mark.parametrize("length", LENGTHS)
@deterministic
@given(seed=seeds)
def test_an_additive_matrix_is_recovered_exactly(length, seed):
    values = fitted(np.random.default_rng(seed).standard_normal((2, 3, length)), length)
    found = fit(values, length, FULL)
    np.testing.assert_allclose(found.r, 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.heldout_r, 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(fitted(found.coefficients, length), values, rtol=0, atol=1e-10)


def test_r_never_falls_when_an_axis_is_added():
    r = {axes: fit(some_logits(1, 23), 23, axes).r for axes in COMBINATIONS}
    for fewer in COMBINATIONS:
        for more in COMBINATIONS:
            if set(fewer.split("+")) < set(more.split("+")):
                assert (r[fewer] <= r[more]).all()


@pytest.mark.parametrize("constant", [0.0, 0.1, -1 / 3, 1e6 + 0.1])
@pytest.mark.parametrize("axes", COMBINATIONS)
def test_a_constant_matrix_has_no_correlation(constant, axes):
    found = fit(np.full((1, len(levels(23)[0])), constant), 23, axes)
    assert all(x.isnan().all() for x in (found.r, found.r2, found.adjusted_r2, found.heldout_r))


def test_a_wide_offset_does_not_hide_the_fit():
    values = some_logits(2, 23)
    near, far = fit(values, 23, FULL), fit(values + 1e3, 23, FULL)
    np.testing.assert_allclose(far.r, near.r, rtol=0, atol=1e-8)
    np.testing.assert_allclose(far.heldout_r, near.heldout_r, rtol=0, atol=1e-8)


def test_sums_of_another_length_are_refused():
    whole, seen = designs_of(16, 0)
    _, other = designs_of(8, 0)
    sums = sums_of(some_logits(0, 16), 16)
    shorter = sums_of(some_logits(0, 8), 8)
    with pytest.raises(ValueError, match="length 16"):
        fit_axes(shorter, shorter, whole, seen, FULL)
    with pytest.raises(ValueError, match="length 16"):
        fit_axes(sums, sums, whole, other, FULL)


@pytest.mark.parametrize("axes", COMBINATIONS)
def test_what_is_not_finite_is_never_taken_for_a_fit(axes):
    values = some_logits(0, 16)
    values[1, 5] = np.inf
    with pytest.raises(RuntimeError, match=r"length 16 did not converge"):
        fit(values, 16, axes)


def test_sums_that_round_still_converge():
    """Sums over distances come from a transform, whose rounding leaves a part that no coefficients can give."""
    values = some_logits(3, 31) + 1e3
    sums, heldout = sums_of(values, 31), sums_of(values, 31, heldout_cells(31))
    noise = 1 + 1e-13 * torch.from_numpy(np.random.default_rng(0).standard_normal(sums.totals.shape))
    found = fit_axes(Sums(sums.totals * noise, sums.squares), heldout, *designs_of(31, 0), FULL)
    np.testing.assert_allclose(found.r, fit(values, 31, FULL).r, rtol=0, atol=1e-8)


# The null space and the gauge


@pytest.mark.parametrize("axes", COMBINATIONS)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_rank_of_the_design_is_the_number_of_parameters(axes, length):
    expected = {1: length, 2: 2 * length - 1, 3: 3 * length - 3}[len(axes.split("+"))]
    assert np.linalg.matrix_rank(dummies(axes, length)) == parameters(axes, length) == expected


@pytest.mark.parametrize("axes", COMBINATIONS)
def test_the_null_space_is_orthonormal_and_changes_no_fit(axes):
    null = null_space(axes, 23)
    used = torch.tensor([axis in axes.split("+") for axis in AXES])
    np.testing.assert_allclose(null.flatten(1) @ null.flatten(1).T, np.eye(len(null)), atol=1e-12)
    np.testing.assert_allclose(fitted(null, 23), 0, atol=1e-12)
    assert not null[:, ~used].any() and len(null) == used.sum() * 23 - parameters(axes, 23)


@deterministic
@given(seed=seeds, sizes=st.tuples(*[st.floats(-100, 100)] * 3))
def test_null_directions_change_neither_the_fit_nor_the_gauge_fixed_components(seed, sizes):
    length = 16
    coefficients = np.random.default_rng(seed).standard_normal((1, 3, length))
    moved = coefficients + np.tensordot(sizes, null_directions(length), 1)
    np.testing.assert_allclose(fitted(moved, length), fitted(coefficients, length), rtol=0, atol=1e-10)
    np.testing.assert_allclose(gauged(moved, length), gauged(coefficients, length), rtol=0, atol=1e-10)
    refitted = [fit(fitted(x, length), length, FULL).coefficients for x in (coefficients, moved)]
    for found in refitted:
        np.testing.assert_allclose(gauged(found, length), gauged(coefficients, length), rtol=0, atol=1e-8)


@pytest.mark.parametrize("length", LENGTHS)
@deterministic
@given(seed=seeds)
def test_the_gauge_holds_and_keeps_the_fit(length, seed):
    coefficients = np.random.default_rng(seed).normal(3, 1, (2, 3, length))
    before = coefficients.copy()
    fixed = gauged(coefficients, length)
    _, query, key = levels(length)
    for row in fixed:
        assert row[1, query].mean() == pytest.approx(0, abs=1e-11)
        assert row[2, key].mean() == pytest.approx(0, abs=1e-11)
        assert np.polyfit(key, row[2, key], 1)[0] == pytest.approx(0, abs=1e-11)
    np.testing.assert_allclose(fitted(fixed, length), fitted(before, length), rtol=0, atol=1e-11)
    np.testing.assert_array_equal(coefficients, before)


# Noise


@pytest.mark.parametrize("axes", COMBINATIONS)
def test_noise_has_the_null_r_and_an_adjusted_r2_of_zero_on_average(axes):
    length, n = 16, 1000
    cells, free = 136, parameters(axes, length)
    found = fit(np.random.default_rng(5).standard_normal((n, cells)), length, axes)
    # r2 of Gaussian noise is Beta((p - 1)/2, (n - p)/2).
    a, b = (free - 1) / 2, (cells - free) / 2
    error = np.sqrt(a * b / (a + b) ** 2 / (a + b + 1) / n)
    assert found.null_r == pytest.approx(np.sqrt((free - 1) / (cells - 1)))
    assert found.r2.mean() == pytest.approx(found.null_r**2, abs=4 * error)
    assert found.adjusted_r2.mean() == pytest.approx(0, abs=4 * error * (cells - 1) / (cells - free))
    rest = heldout_cells(length).sum()
    assert found.heldout_r.mean() == pytest.approx(0, abs=4 / np.sqrt(rest * n))
    assert (found.cells, found.parameters) == (cells, free)
