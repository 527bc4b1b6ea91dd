"""Distances from a reference distribution, where theory or construction says what they are."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from triaxis.length.drift import Points, compare_layer, energy_distance, fit_reference, measure, scatter


def draw(heads: int, n: int, seed: int, dimensions: int = 6) -> np.ndarray:
    """Points with unequal variances and a mean of their own."""
    spread = np.linspace(0.5, 3, dimensions)
    return 2 + spread * np.random.default_rng(seed).standard_normal((heads, n, dimensions))


def with_outlier(points: np.ndarray, place: int = 3) -> np.ndarray:
    """The same points, one of each head ten thousand times as far away."""
    points = points.copy()
    points[:, place] *= 1e4
    return points


def test_shrinkage_vanishes_with_many_points_and_is_whole_for_a_sphere():
    points = draw(1, 50_000, 0) - 2
    own = np.diag(np.linspace(0.5, 3, 6) ** 2)
    np.testing.assert_allclose(scatter(points)[0], 6 * own / np.trace(own), atol=0.05)
    few = np.random.default_rng(1).standard_normal((1, 10, 40))
    assert np.linalg.cond(scatter(few)[0]) < 100 < np.linalg.cond(np.cov(few[0].T))


def test_scatter_is_the_fixed_point_that_defines_it():
    points = draw(2, 50, 0) - 2
    found = scatter(points)
    for head in range(2):
        x, n, d = points[head] / np.linalg.norm(points[head], axis=1)[:, None], 50, 6
        squares = np.trace(np.linalg.matrix_power(d / n * x.T @ x, 2))
        share = (d**2 + (1 - 2 / d) * squares) / (d**2 - n * d - 2 * n + (n + 1 + 2 * (n - 1) / d) * squares)
        assert 0 < share < 1
        moment = sum(np.outer(row, row) / (row @ np.linalg.inv(found[head]) @ row) for row in x) * d / n
        again = (1 - share) * moment + share * np.eye(d)
        np.testing.assert_allclose(found[head], again * d / np.trace(again), atol=1e-5)


def test_how_far_a_point_is_does_not_count_for_the_scatter():
    points = draw(3, 60, 0) - 2
    np.testing.assert_allclose(scatter(with_outlier(points)), scatter(points), atol=1e-12)


def test_points_of_the_same_distribution_are_outside_as_often_as_expected():
    reference = fit_reference(draw(4, 4000, 0), draw(4, 4000, 1))
    found = measure(reference, draw(4, 4000, 2))
    assert 0.01 < reference.expected < 0.01 + 1 / 4001
    np.testing.assert_allclose(found["outlier_share"], 0.01, atol=0.006)
    assert np.abs(found["energy"]).max() < 0.01
    # A squared Mahalanobis distance of 6 normal dimensions is chi-squared: median 5.35, 99 % quantile 16.81.
    np.testing.assert_allclose(found["median"] ** 2, 5.35, rtol=0.05)
    np.testing.assert_allclose(found["q99"] ** 2, 16.81, rtol=0.1)


@pytest.mark.parametrize("m", [40, 100, 170, 400])
@pytest.mark.parametrize("heavy", [False, True])
def test_the_expected_share_holds_for_few_points_of_any_distribution(m: int, heavy: bool):
    """Over many heads, the share of fresh points is 1 - k / (m + 1) with normal and with heavy tails alike."""

    def drawn(n: int, seed: int) -> np.ndarray:
        points = draw(400, n, seed, 3)
        return points / np.random.default_rng(seed + 9).random((400, n, 1)) if heavy else points

    reference = fit_reference(drawn(m, 0), drawn(m, 1))
    share = measure(reference, drawn(200, 2))["outlier_share"]
    assert reference.expected == pytest.approx(0.01 + 0.5 / (m + 1), abs=0.5 / (m + 1) + 1e-12)
    assert abs(share.mean() - reference.expected) < 4 * share.std() / np.sqrt(400)


def test_one_outlier_among_the_reference_sets_neither_region_nor_threshold():
    """It set mean, covariance and threshold when these were averages and a quantile of few points."""
    fitted, calibrating, points = draw(20, 170, 0), draw(20, 170, 1), draw(20, 2000, 2)
    own = measure(fit_reference(fitted, calibrating), points)
    for fits, calibrates in ((with_outlier(fitted), calibrating), (fitted, with_outlier(calibrating))):
        found = measure(fit_reference(fits, calibrates), points)
        assert abs(found["outlier_share"].mean() - own["outlier_share"].mean()) < 2 / 171  # a rank or two
        assert (found["outlier_share"] > 0).all() and found["outlier_share"].max() < 0.05
        np.testing.assert_allclose(found["median"], own["median"], rtol=0.03)
        moved = measure(fit_reference(fits, calibrates), points + 6)
        assert moved["outlier_share"].min() > 0.9  # what has left is still seen to have left


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


def test_every_method_is_measured_on_positions_that_set_nothing():
    n = 600
    place = {"sequence": np.arange(n, dtype=np.int32) % 5, "position": np.arange(n, dtype=np.int32)}
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
        assert rows["plain", 16, head]["points"] == n // 3
        assert rows["plain", 16, head]["outlier_share"] < 0.05
        same = rows["lm_infinite", 16, head] | {"method": "plain"}
        assert same == rows["plain", 16, head]
        assert rows["plain", 32, head]["outlier_share"] > 0.3 > rows["lm_infinite", 32, head]["outlier_share"]
        assert rows["plain", 32, head]["expected"] == pytest.approx(1 - 198 / 201)
    cloud = clouds.to_pydict()
    assert set(cloud["layer"]) == {4} and sum(cloud["reference"]) == 3 * n // 3
    of_run = np.array([key == ("plain", 32) for key in zip(cloud["method"], cloud["length"], strict=True)])
    outliers = np.array(cloud["outlier"])[of_run]
    assert np.mean(outliers) == pytest.approx(np.mean([rows["plain", 32, head]["outlier_share"] for head in range(3)]))

    # What is counted sets nothing: far-away counted points leave threshold and the other shares as they are.
    counted = set(cloud["position"][: n // 3])
    inside = inside.copy()
    inside[:, sorted(counted)] += 100
    again, _ = compare_layer(found | {("plain", 16): Points(**place, vectors=inside)}, 4, training_length=16, seed=0)
    for row in again.to_pylist():
        if (row["method"], row["length"]) == ("plain", 16):
            assert row["outlier_share"] == 1
        else:
            assert row == rows[row["method"], row["length"], row["head"]]
