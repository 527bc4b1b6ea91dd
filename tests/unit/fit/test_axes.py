"""The three-axis fit against dense least squares, and what the gauge, the null and the half promise."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triaxis.fit.axes import (
    AXES,
    COMBINATIONS,
    FULL,
    Sums,
    designs,
    draw_half,
    fit_axes,
    fix_gauge,
    half_mask,
    null_space,
    parameters,
)

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
    return Sums(totals, (values[:, chosen] ** 2).sum(1))


def in_half(length: int, seed: int = 0) -> np.ndarray:
    """(cells,): which causal cells are in the half."""
    return half_mask(length, draw_half(length, seed))[np.tril_indices(length)]


def fit(values: np.ndarray, length: int, axes: str, seed: int = 0):
    whole, half = designs_of(length, seed)
    chosen = in_half(length, seed)
    return fit_axes(sums_of(values, length), sums_of(values, length, chosen), whole, half, axes)


def fitted(coefficients: np.ndarray, length: int) -> np.ndarray:
    """(n, cells): the values that coefficients (n, 3, length) give."""
    return sum(coefficients[:, axis, index] for axis, index in enumerate(levels(length)))


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


@pytest.mark.parametrize("axes", COMBINATIONS)
@pytest.mark.parametrize("length", LENGTHS)
@deterministic
@given(seed=seeds)
def test_the_fit_equals_dense_least_squares(axes, length, seed):
    values, design, half = some_logits(seed, length), dummies(axes, length), in_half(length)
    expected = (design @ np.linalg.lstsq(design, values.T)[0]).T
    predicted = (design[~half] @ np.linalg.lstsq(design[half], values[:, half].T)[0]).T
    cells, free = len(design), np.linalg.matrix_rank(design.T @ design, hermitian=True)
    found = fit(values, length, axes)
    np.testing.assert_allclose(fitted(found.coefficients, length), expected, rtol=0, atol=1e-8)
    for matrix in range(len(values)):
        r = np.corrcoef(values[matrix], expected[matrix])[0, 1]
        assert found.r[matrix] == pytest.approx(r, abs=1e-8)
        assert found.r2[matrix] == pytest.approx(r**2, abs=1e-8)
        adjusted = 1 - (1 - r**2) * (cells - 1) / (cells - free)
        assert found.adjusted_r2[matrix] == pytest.approx(adjusted, abs=1e-8 * cells)
        heldout = np.corrcoef(values[matrix, ~half], predicted[matrix])[0, 1]
        assert found.heldout_r[matrix] == pytest.approx(heldout, abs=1e-8)


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
    assert all(np.isnan(x).all() for x in (found.r, found.r2, found.adjusted_r2, found.heldout_r))


def test_a_wide_offset_does_not_hide_the_fit():
    values = some_logits(2, 23)
    near, far = fit(values, 23, FULL), fit(values + 1e3, 23, FULL)
    np.testing.assert_allclose(far.r, near.r, rtol=0, atol=1e-8)
    np.testing.assert_allclose(far.heldout_r, near.heldout_r, rtol=0, atol=1e-8)


def test_sums_of_another_length_are_refused():
    whole, half = designs_of(16, 0)
    _, other = designs_of(8, 0)
    sums = sums_of(some_logits(0, 16), 16)
    shorter = sums_of(some_logits(0, 8), 8)
    with pytest.raises(ValueError, match="length 16"):
        fit_axes(shorter, shorter, whole, half, FULL)
    with pytest.raises(ValueError, match="length 16"):
        fit_axes(sums, sums, whole, other, FULL)


# The null space and the gauge


@pytest.mark.parametrize("axes", COMBINATIONS)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_rank_of_the_design_is_the_number_of_parameters(axes, length):
    expected = {1: length, 2: 2 * length - 1, 3: 3 * length - 3}[len(axes.split("+"))]
    assert np.linalg.matrix_rank(dummies(axes, length)) == parameters(axes, length) == expected


@pytest.mark.parametrize("axes", COMBINATIONS)
def test_the_null_space_is_orthonormal_and_changes_no_fit(axes):
    null = null_space(axes, 23)
    np.testing.assert_allclose(null @ null.T, np.eye(len(null)), atol=1e-12)
    np.testing.assert_allclose(dummies(axes, 23) @ null.T, 0, atol=1e-12)


@deterministic
@given(seed=seeds, sizes=st.tuples(*[st.floats(-100, 100)] * 3))
def test_null_directions_change_neither_the_fit_nor_the_gauge_fixed_components(seed, sizes):
    length = 16
    whole, _ = designs_of(length, 0)
    coefficients = np.random.default_rng(seed).standard_normal((1, 3, length))
    moved = coefficients + np.tensordot(sizes, null_directions(length), 1)
    np.testing.assert_allclose(fitted(moved, length), fitted(coefficients, length), rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        fix_gauge(moved, whole.counts), fix_gauge(coefficients, whole.counts), rtol=0, atol=1e-10
    )
    refitted = [fit(fitted(x, length), length, FULL).coefficients for x in (coefficients, moved)]
    expected = fix_gauge(coefficients, whole.counts)
    for found in refitted:
        np.testing.assert_allclose(fix_gauge(found, whole.counts), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("length", LENGTHS)
@deterministic
@given(seed=seeds)
def test_the_gauge_holds_and_keeps_the_fit(length, seed):
    whole, _ = designs_of(length, 0)
    coefficients = np.random.default_rng(seed).normal(3, 1, (2, 3, length))
    before = coefficients.copy()
    fixed = fix_gauge(coefficients, whole.counts)
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
    rest = (~in_half(length)).sum()
    assert found.heldout_r.mean() == pytest.approx(0, abs=4 / np.sqrt(rest * n))
    assert (found.cells, found.parameters) == (cells, free)


# The half


@pytest.mark.parametrize("length", [16, 64, 300])
@pytest.mark.parametrize("seed", range(3))
def test_the_half_has_every_level_and_half_of_the_cells_of_each_axis(length, seed):
    chosen = in_half(length, seed)
    assert abs(chosen.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(chosen))
    for index in levels(length):
        count, own = (np.bincount(index, weights, length) for weights in (None, chosen))
        assert (own > 0).all()
        assert (np.abs(own - count / 2) <= np.maximum(5 * np.sqrt(count) / 2, 1)).all()


def test_the_half_follows_its_seed():
    assert draw_half(64, 3) == draw_half(64, 3)
    masks = [half_mask(64, draw_half(64, seed))[np.tril_indices(64)] for seed in range(4)]
    for i in range(4):
        for j in range(i):
            assert 0.4 < (masks[i] == masks[j]).mean() < 0.6


@pytest.mark.parametrize(("length", "seeds"), [(8, range(20)), (16, range(40)), (17, [163]), (24, range(10))])
def test_the_half_determines_every_prediction(length, seeds):
    """Covering every level is not enough in a short sequence: cells that share no level can come apart."""
    design = dummies(FULL, length)
    for seed in seeds:
        half = design[in_half(length, seed)]
        assert np.linalg.matrix_rank(half.T @ half, hermitian=True) == parameters(FULL, length)


def test_no_half_of_one_position():
    with pytest.raises(ValueError, match="at least 2 positions"):
        draw_half(1, 0)


def test_the_mask_is_that_of_each_cell():
    half = draw_half(20, 1)
    mask = half_mask(20, half)
    prime = 2**31 - 1
    expected = [
        [j <= i and ((half.a * i + half.b * j + half.c) % prime) ** 2 % prime % 2 == 1 for j in range(20)]
        for i in range(20)
    ]
    np.testing.assert_array_equal(mask, expected)
