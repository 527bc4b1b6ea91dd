"""The trend within sub-diagonals, beside least squares on all cells."""

import numpy as np
import pytest
import torch

from triaxis.fit.axes import Sums, designs, fit_axes
from triaxis.heads.diagonals import diagonal_trend
from triaxis.heads.measure import attention_rows
from triaxis.mechanism.heads import batches
from unit.vectors import LENGTH, ROTARIES, dense_logits, make_features


def dense_trend(matrix: np.ndarray) -> float:
    """By least squares of all causal cells on a column for each sub-diagonal and the query's position."""
    length = len(matrix)
    query, key = np.tril_indices(length)
    design = np.zeros((len(query), length + 1))
    design[np.arange(len(query)), query - key] = 1
    design[:, -1] = query
    return (length - 1) * np.linalg.lstsq(design, matrix[query, key], rcond=None)[0][-1]


def matrix_of(query: np.ndarray, key: np.ndarray, rotary) -> np.ndarray:
    cells = dense_logits(query, key, rotary, range(LENGTH))
    rows, columns = np.tril_indices(LENGTH)
    matrix = np.zeros((LENGTH, LENGTH))
    matrix[rows, columns] = cells[rows, rows - columns, columns]
    return matrix


@pytest.mark.parametrize("name", ROTARIES)
def test_the_trend_is_that_of_least_squares(name):
    rotary = ROTARIES[name]
    layer = make_features(rotary)
    (heads,) = batches([layer], {layer.layer: rotary})
    found = attention_rows(heads, 3)["diagonal_trend"].to_pylist()
    expected = [dense_trend(matrix_of(layer.query[head], layer.key[head // 2], rotary)) for head in range(4)]
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_trend_is_none_of_the_distance_and_both_of_query_and_key():
    """What the gauge of the fit moves between the axes, a_d + t d, b_i - t i, c_j + t j, leaves it as it is."""
    ones, rise = torch.ones(1, 9, 1, dtype=torch.complex128), torch.arange(9)[None, :, None] + 0j
    assert diagonal_trend(rise, ones).tolist() == pytest.approx([8])
    assert diagonal_trend(ones, rise).tolist() == pytest.approx([8])
    distance = torch.cat([rise, -ones], dim=2), torch.cat([ones, rise], dim=2)  # W_ij = i - j
    assert diagonal_trend(*distance).tolist() == pytest.approx([0], abs=1e-12)
    assert diagonal_trend(ones[:, :1], ones[:, :1]).isnan().all()


def test_the_spread_within_sub_diagonals_is_what_the_fit_of_the_distance_leaves():
    """heads/ takes it from r2 of that fit and the sums of the matrix."""
    matrix = np.tril(np.random.default_rng(0).standard_normal((7, 7)))
    cells = matrix[np.tril_indices(7)]
    totals = [[np.trace(matrix, -d) for d in range(7)], matrix.sum(1), matrix.sum(0)]
    sums = Sums(torch.tensor(np.array(totals))[None], torch.tensor([np.square(cells).sum()]))
    whole, seen = designs(7, 0)
    r2 = float(fit_axes(sums, Sums(0 * sums.totals, 0 * sums.squares), whole, seen, "distance").r2)
    left = [own - own.mean() for own in (np.diagonal(matrix, -d) for d in range(7))]
    assert (1 - r2) * cells.var() == pytest.approx(np.square(np.concatenate(left)).mean())
