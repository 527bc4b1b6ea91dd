"""The rule of the held-out cells, cell by cell, and what drawn groups promise."""

import numpy as np
import pytest

from triaxis.fit.groups import Groups, all_counts, draw_groups


def heldout_cells(groups: Groups) -> np.ndarray:
    """(length, length): the causal cells that are held out."""
    length = len(groups.query)
    return np.tril(groups.hold_out(*np.ogrid[:length, :length]))


def levels_of(cells: np.ndarray) -> np.ndarray:
    """(3, length): how many cells each distance, query and key has."""
    diagonals = [np.trace(cells, -distance) for distance in range(len(cells))]
    return np.stack([diagonals, cells.sum(1), cells.sum(0)])


def some_groups(length: int, seed: int = 0) -> Groups:
    return Groups(*np.random.default_rng([seed, length]).integers(0, 3, (2, length)))


def test_a_cell_is_held_out_by_the_rule_as_it_is_written():
    groups = some_groups(20)
    expected = [[j <= i and (groups.query[i] - groups.key[j]) % 3 == 1 for j in range(20)] for i in range(20)]
    np.testing.assert_array_equal(heldout_cells(groups), expected)


def test_the_rule_is_a_product_of_a_querys_part_and_a_keys():
    groups = some_groups(20)
    rule = groups.hold_out(*np.ogrid[:20, :20])
    u, v = groups.factors()
    np.testing.assert_array_equal(u.T @ v, rule)
    u, v = groups.roots()
    np.testing.assert_allclose((1 + 2 * np.outer(u, v.conj()).real) / 3, rule, rtol=0, atol=1e-14)


@pytest.mark.parametrize("length", [1, 2, 7, 64, 300])
def test_counts_are_those_of_the_cells(length):
    groups = some_groups(length)
    np.testing.assert_array_equal(groups.counts(), levels_of(heldout_cells(groups)))
    np.testing.assert_array_equal(all_counts(length), levels_of(np.tril(np.ones((length, length), dtype=int))))


@pytest.mark.parametrize("length", [16, 64, 300])
@pytest.mark.parametrize("seed", range(3))
def test_every_level_has_a_fitted_cell_and_a_third_of_the_cells_is_held_out(length, seed):
    groups = draw_groups(length, seed)
    assert (groups.counts() < all_counts(length)).all()
    shares = [heldout_cells(draw_groups(length, other)).sum() / all_counts(length)[1].sum() for other in range(20)]
    assert abs(np.mean(shares) - 1 / 3) < 4 * np.std(shares) / np.sqrt(20)


@pytest.mark.parametrize("length", [3, 4, 5, 8, 12, 16, 24, 31, 48, 64])
def test_the_null_space_of_the_fitted_cells_is_that_of_all_cells(length):
    """3 dimensions for three axes, 1 for two: a level without a cell, or cells that fall apart, would add some."""
    query, key = np.tril_indices(length)
    for seed in range(20 if length < 32 else 4):
        chosen = ~draw_groups(length, seed).hold_out(query, key)
        blocks = [np.eye(length)[index[chosen]] for index in (query - key, query, key)]
        for used, free in (((0, 1, 2), 3 * length - 3), ((0, 2), 2 * length - 1), ((1, 2), 2 * length - 1)):
            design = np.hstack([blocks[axis] for axis in used])
            assert np.linalg.matrix_rank(design.T @ design, hermitian=True) == free


def test_cells_of_every_level_that_fall_apart_are_drawn_again():
    """In a short sequence levels are not enough: some draws that have all of them lack rank, and none of those is
    taken."""
    query, key = np.tril_indices(5)
    found = 0
    for seed in range(100):
        groups = some_groups(5, seed)
        chosen = ~groups.hold_out(query, key)
        design = np.hstack([np.eye(5)[index[chosen]] for index in (query - key, query, key)])
        found += design.any(0).all() and np.linalg.matrix_rank(design) < 12
    assert found > 3


def test_groups_follow_their_seed():
    first, again, other = draw_groups(64, 3), draw_groups(64, 3), draw_groups(64, 4)
    np.testing.assert_array_equal(heldout_cells(first), heldout_cells(again))
    assert (heldout_cells(first) != heldout_cells(other)).mean() > 0.1


def test_nothing_can_be_held_out_of_one_position():
    with pytest.raises(ValueError, match="at least 2 positions"):
        draw_groups(1, 0)
