"""Distances from a reference distribution, where theory or construction says what they are."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from triaxis.length.drift import Points, compare_layer, energy_distance, fit_reference, measure, shrunk_covariance


def draw(heads: int, n: int, seed: int, dimensions: int = 6) -> np.ndarray:
    """Points with unequal variances and a mean of their own."""
    spread = np.linspace(0.5, 3, dimensions)
    return 2 + spread * np.random.default_rng(seed).standard_normal((heads, n, dimensions))


def test_shrinkage_vanishes_with_many_points_and_is_whole_for_a_sphere():
    points = draw(1, 50_000, 0)
    np.testing.assert_allclose(shrunk_covariance(points)[0], np.diag(np.linspace(0.5, 3, 6) ** 2), atol=0.15)
    few = np.random.default_rng(1).standard_normal((1, 10, 40))
    covariance = shrunk_covariance(few)[0]
    assert np.linalg.cond(covariance) < 10 < np.linalg.cond(np.cov(few[0].T))


def test_held_out_points_of_the_same_distribution_are_outside_in_one_of_a_hundred():
    reference = fit_reference(draw(4, 4000, 0), draw(4, 4000, 1))
    found = measure(reference, draw(4, 4000, 2))
    np.testing.assert_allclose(found["outlier_share"], 0.01, atol=0.006)
    assert np.abs(found["energy"]).max() < 0.01
    # A squared Mahalanobis distance of 6 normal dimensions is chi-squared: median 5.35, 99 % quantile 16.81.
    np.testing.assert_allclose(found["median"] ** 2, 5.35, rtol=0.05)
    np.testing.assert_allclose(found["q99"] ** 2, 16.81, rtol=0.1)


def test_a_shift_is_seen_by_every_measure_and_grows():
    reference = fit_reference(draw(1, 1000, 0), draw(1, 1000, 1))
    own, near, far = (measure(reference, draw(1, 1000, 2) + shift) for shift in (0, 1, 4))
    for name in ("median", "q90", "q99", "outlier_share", "energy"):
        assert own[name][0] < near[name][0] < far[name][0], name
    assert far["outlier_share"][0] > 0.9


def test_directions_of_small_variance_count_as_much_as_large_ones():
    reference = fit_reference(draw(1, 4000, 0), draw(1, 4000, 1))
    shifts = [np.eye(6)[k] * 3 * spread for k, spread in ((0, 0.5), (5, 3.0))]
    small, large = (measure(reference, draw(1, 4000, 2) + shift)["median"][0] for shift in shifts)
    assert small == pytest.approx(large, rel=0.05)


def test_the_energy_distance_is_its_definition():
    one, other = draw(1, 30, 0)[0], draw(1, 20, 1)[0] + 1
    within = cdist(one, one).sum() / (30 * 29) + cdist(other, other).sum() / (20 * 19)
    assert energy_distance(one, other) == pytest.approx(2 * cdist(one, other).mean() - within)


def test_the_plane_holds_the_two_largest_variances():
    reference = fit_reference(draw(2, 4000, 0), draw(2, 4000, 1))
    flat = reference.project(draw(2, 4000, 2))
    np.testing.assert_allclose(flat.var(1), np.broadcast_to(np.linspace(0.5, 3, 6)[[-1, -2]] ** 2, (2, 2)), rtol=0.1)


def test_a_head_that_gives_nothing_is_no_failure():
    found = measure(fit_reference(np.zeros((1, 20, 3)), np.zeros((1, 20, 3))), np.zeros((1, 5, 3)))
    assert found["outlier_share"][0] == 0 and found["median"][0] == 0


def test_every_method_is_measured_on_held_out_positions_of_plain():
    n = 400
    place = {"sequence": np.zeros(n, np.int32), "position": np.arange(n, dtype=np.int32)}
    inside, beyond = draw(3, n, 0), draw(3, n, 5) + 3
    found = {
        ("plain", 16): Points(**place, vectors=inside),
        ("plain", 32): Points(**place, vectors=beyond),
        ("lm_infinite", 16): Points(**place, vectors=inside),
        ("lm_infinite", 32): Points(**place, vectors=draw(3, n, 6)),
    }
    distances, clouds = compare_layer(found, 4, training_length=16, seed=0)
    rows = {(row["method"], row["length"], row["head"]): row for row in distances.to_pylist()}
    for head in range(3):
        assert rows["plain", 16, head]["points"] == n // 2
        assert rows["plain", 16, head]["outlier_share"] <= 0.011  # calibrated to 1 % on these very points
        same = rows["lm_infinite", 16, head] | {"method": "plain"}
        assert same == rows["plain", 16, head]
        assert rows["plain", 32, head]["outlier_share"] > 0.3 > rows["lm_infinite", 32, head]["outlier_share"]
    cloud = clouds.to_pydict()
    assert set(cloud["layer"]) == {4} and sum(cloud["reference"]) == 3 * n // 2
