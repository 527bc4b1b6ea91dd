"""RoPE can express any function of distance and any table of them: nothing forces f + g."""

import numpy as np
import pytest
import torch

from triaxis.attention.rope import Rotary, frequency_groups
from triaxis.mechanism.additivity import additivity_of, grid_of, varying
from triaxis.mechanism.components import sizes, turns_at
from triaxis.mechanism.expressivity import (
    TARGETS,
    basis,
    interaction_share,
    project,
    reach_error,
    reach_table,
    solve_layers,
    table_of,
)
from unit.vectors import ROTARIES, make_rotary


@pytest.mark.parametrize("distances", [1, 2, 3, 64, 255, 256])
def test_any_function_of_distance_is_reached(distances):
    function = np.random.default_rng(0).normal(0, 10, (1, distances))
    frequency, query, keys = reach_table(function)
    np.testing.assert_allclose(table_of(frequency, query, keys, distances), function, rtol=0, atol=1e-10)
    np.testing.assert_allclose(frequency, 2 * np.pi * np.arange(distances // 2 + 1) / distances)


@pytest.mark.parametrize("keys", [2, 50])
def test_any_table_of_functions_that_differ_by_key_is_reached(keys):
    table = np.random.default_rng(0).normal(0, 10, (keys, 128))
    assert reach_error(table) < 1e-10


def test_a_head_of_real_dimensions_reaches_a_table_that_is_all_interaction():
    """The vectors of reach_table, put into a Rotary: w by rotation is the table, and no f + g comes near it."""
    table = np.random.default_rng(0).standard_normal((12, 32))
    table -= table.mean(0) + table.mean(1, keepdims=True) - table.mean()
    frequency, query, keys = reach_table(table)
    pairs = len(frequency)
    rotary = Rotary(1.0, 1.0, np.arange(pairs), np.arange(pairs, 2 * pairs), frequency, np.arange(0))
    vectors = np.concatenate([keys.real, keys.imag], axis=1)
    turned = rotary.rotate(np.tile(np.concatenate([query.real, query.imag]), (32, 1)), np.arange(32))
    np.testing.assert_allclose(vectors @ turned.T, table, atol=1e-10)
    one, all_keys = torch.from_numpy(query)[None, None], torch.from_numpy(keys)[None]
    values = additivity_of(one, sizes(one), grid_of(all_keys, varying(turns_at(rotary, torch.arange(32)))))
    assert float(values.r_additive) == pytest.approx(0, abs=1e-5)


def test_least_squares_reaches_what_the_basis_spans():
    rotary = make_rotary(4, 2)
    functions = basis(rotary, 50)
    assert functions.shape == (50, 9)
    inside = np.random.default_rng(0).standard_normal((3, 9)) @ functions.T
    reached, rank, _ = project(functions, inside)
    np.testing.assert_allclose(reached, inside, atol=1e-6)
    assert rank <= 9
    assert basis(make_rotary(4), 50).shape == (50, 8)


def test_least_squares_is_numpys():
    functions, targets = (
        np.random.default_rng(0).standard_normal((30, 7)),
        np.random.default_rng(1).normal(size=(4, 30)),
    )
    reached, rank, norm = project(functions, targets)
    solution = np.linalg.lstsq(functions, targets.T, rcond=None)[0]
    np.testing.assert_allclose(reached.T, functions @ solution, atol=1e-10)
    np.testing.assert_allclose(norm, np.linalg.norm(solution, axis=0), atol=1e-10)
    assert rank == 7


def test_noise_is_reached_in_proportion_to_the_rank():
    """A random direction of N dimensions has rank / N of its energy in a subspace, on average."""
    rotary = Rotary(1.0, 1.0, np.arange(8), np.arange(8, 16), 2 * np.pi * np.arange(1, 9) / 64, np.arange(0))
    row = solve_layers("m", {0: rotary}, 64, count=2000)[0]
    assert row["rank"] == 16
    assert row["r2"] == pytest.approx(16 / 64, abs=0.01)
    assert row["interaction"] > 0.9
    assert float(row["dft_error"]) < 1e-10


def test_rows_are_by_layers_of_the_same_frequencies():
    local, whole, still = make_rotary(4, seed=1), make_rotary(4, seed=2), ROTARIES["nothing turns"]
    rotaries = {0: local, 1: local, 2: whole, 3: local, 5: still}
    assert frequency_groups(rotaries) == [[0, 1, 3], [2], [5]]
    rows = solve_layers("m", rotaries, 40)
    assert [(row["first_layer"], row["layers"], row["target"]) for row in rows] == [
        (first, count, target) for first, count in ((0, 3), (2, 1), (5, 1)) for target in TARGETS
    ]
    assert all(np.isnan(row["r"]) and row["fastest"] == "" for row in rows if row["pairs"] == 0)


def test_interaction_share_of_a_table():
    row, column = np.random.default_rng(0).standard_normal((2, 6))
    assert interaction_share(row[:, None] + column) == pytest.approx(0, abs=1e-12)
    assert interaction_share(np.outer([1, -1], [1, -1])) == pytest.approx(1)
    assert np.isnan(interaction_share(np.ones((2, 2))))
