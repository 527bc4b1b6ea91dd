"""Linear sums against those of the whole matrix, cell by cell."""

import numpy as np
import pytest
import torch

from triaxis.attention.rope import Rotary
from triaxis.fit import axes
from triaxis.fit.axes import Sums, designs, fit_axes
from triaxis.fit.combinations import COMBINATIONS
from triaxis.fit.groups import Groups, draw_groups
from triaxis.fit.linear import CHUNK, rotate, sum_over_axes

HEAD_DIM = 20
# Neighbouring pairs of the first twelve dimensions, with an amplitude; the last eight are not turned.
PARTIAL = Rotary(0.3, 1.2, np.arange(0, 12, 2), np.arange(1, 12, 2), 1e4 ** (-np.arange(6) / 6), np.arange(12, 20))
FULL = Rotary(0.2, 1.0, np.arange(10), np.arange(10, 20), 1e5 ** (-np.arange(10) / 10), np.array([], dtype=np.int64))
NOPE = Rotary(0.3, 1.0, *(np.array([], dtype=np.int64),) * 2, np.array([]), np.arange(20))
ROTARIES = {"partial, with an amplitude": PARTIAL, "full": FULL, "none": NOPE}


def some_vectors(length: int, heads: int = 4, key_heads: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys before rotation, with means and a first key far larger than the others."""
    generator = np.random.default_rng([seed, length])
    query, key = (generator.standard_normal((n, length, HEAD_DIM)) + 0.5 for n in (heads, key_heads))
    key[:, 0] *= 10
    return torch.from_numpy(query), torch.from_numpy(key)


def some_groups(length: int) -> Groups:
    return Groups(*np.random.default_rng(length).integers(0, 3, (2, length)))


def dense_sums(matrices: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the causal cells among `cells`: totals (n, 3, length), squares (n,), and totals of sizes (n, 3, length)."""
    chosen = np.tril(matrices) * cells

    def over(values: np.ndarray) -> np.ndarray:
        diagonals = [np.trace(values, -distance, 1, 2) for distance in range(values.shape[1])]
        return np.stack([np.stack(diagonals, axis=1), values.sum(2), values.sum(1)], axis=1)

    return over(chosen), (chosen**2).sum((1, 2)), over(np.abs(chosen))


@pytest.mark.parametrize("rotary", ROTARIES.values(), ids=ROTARIES)
def test_rotation_is_that_of_the_layer(rotary):
    vectors, _ = some_vectors(50)
    positions = np.arange(0, 100, 2)
    found = rotate(vectors, rotary, torch.from_numpy(positions))
    np.testing.assert_allclose(found, rotary.rotate(vectors.numpy(), positions), rtol=0, atol=1e-13)


@pytest.mark.parametrize("rotary", ROTARIES.values(), ids=ROTARIES)
@pytest.mark.parametrize("length", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
@pytest.mark.parametrize(("heads", "key_heads"), [(4, 2), (3, 3), (3, 1)])
def test_linear_sums_are_those_of_the_cells(rotary, length, heads, key_heads):
    query, key = some_vectors(length, heads, key_heads)
    x, y = rotary.scale * rotate(query, rotary, torch.arange(length)), rotate(key, rotary, torch.arange(length))
    groups = some_groups(length)
    matrices = np.stack([x[head].numpy() @ y[head // (heads // key_heads)].numpy().T for head in range(heads)])
    everywhere = np.ones((length, length), dtype=bool)
    heldout = groups.hold_out(*np.ogrid[:length, :length])
    for found, cells in zip(sum_over_axes(x, y, groups), (everywhere, heldout), strict=True):
        totals, squares, _ = dense_sums(matrices, cells)
        # What rounds is as large as the cells that are summed, held out or not.
        *_, sizes = dense_sums(matrices, everywhere)
        assert (np.abs(found.totals.numpy() - totals) <= 1e-10 * sizes).all()
        np.testing.assert_allclose(found.squares, squares, rtol=1e-10)


def test_dimensions_without_a_rotation_alone_are_summed_too():
    query, key = some_vectors(40)
    found, _ = sum_over_axes(query[..., :1], key[..., :1], draw_groups(40, 0))
    matrices = np.einsum("hi,hj->hij", query[..., 0].numpy(), np.repeat(key[..., 0].numpy(), 2, axis=0))
    np.testing.assert_allclose(
        found.totals, dense_sums(matrices, np.tril(np.ones((40, 40))))[0], rtol=1e-10, atol=1e-10
    )


def test_the_fit_from_vectors_is_that_from_cells():
    length = 70
    query, key = some_vectors(length)
    x, y = rotate(query, FULL, torch.arange(length)), rotate(key, FULL, torch.arange(length))
    groups, (whole, seen) = draw_groups(length, 5), designs(length, 5)
    matrices = (x.unflatten(0, (2, 2)) @ y[:, None].mT).flatten(0, 1).numpy()
    dense = [
        Sums(*map(torch.from_numpy, dense_sums(matrices, cells)[:2]))
        for cells in (np.ones((length, length), dtype=bool), groups.hold_out(*np.ogrid[:length, :length]))
    ]
    for combination in COMBINATIONS:
        linear, cells = (fit_axes(*sums, whole, seen, combination) for sums in (sum_over_axes(x, y, groups), dense))
        np.testing.assert_allclose(linear.r, cells.r, rtol=0, atol=1e-10)
        np.testing.assert_allclose(linear.heldout_r, cells.heldout_r, rtol=0, atol=1e-10)
        np.testing.assert_allclose(linear.coefficients, cells.coefficients, rtol=0, atol=1e-8)


@pytest.mark.parametrize("length", [16, 256, 8192])
def test_steps_do_not_grow_with_the_length(length, monkeypatch):
    monkeypatch.setattr(axes, "MOST_STEPS", 40)
    query, key = some_vectors(length, 1, 1)
    x, y = rotate(query, FULL, torch.arange(length)), rotate(key, FULL, torch.arange(length))
    for seed in range(3):
        sums, heldout = sum_over_axes(x, y, draw_groups(length, seed))
        for combination in COMBINATIONS:
            assert fit_axes(sums, heldout, *designs(length, seed), combination).r.isfinite().all()


def test_a_long_fit_converges_and_equals_that_of_its_cells():
    """4,096 positions with one head: the sums from vectors, the fit checked by its normal equations."""
    length = 4096
    query, key = some_vectors(length, 1, 1)
    x, y = rotate(query, FULL, torch.arange(length)), rotate(key, FULL, torch.arange(length))
    whole, seen = designs(length, 0)
    sums, heldout = sum_over_axes(x, y, draw_groups(length, 0))
    for design, own in ((whole, sums), (seen, sums - heldout)):
        residual = (own.totals - design.normal(design.solve("distance+query+key", own.totals))) / design.counts
        assert residual.abs().max() < 1e-9 * (own.totals / design.counts).abs().max()
