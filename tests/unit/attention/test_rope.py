"""Dimensions as an index."""

import numpy as np
import pytest

from triaxis.attention.rope import along


@pytest.mark.parametrize(
    ("dims", "index"),
    [
        (np.arange(4), slice(0, 4, 1)),
        (np.arange(1, 9, 2), slice(1, 8, 2)),
        (np.array([5]), slice(5, 6, 1)),
        (np.array([3, 2, 1]), None),
        (np.array([0, 1, 3]), None),
        (np.array([2, 2]), None),
        (np.arange(0), None),
    ],
)
def test_dimensions_that_are_evenly_spaced_are_a_view_and_others_a_gather(dims, index):
    found, vectors = along(dims), np.random.default_rng(0).normal(size=(3, 9))
    assert found == index if index else found is dims
    np.testing.assert_array_equal(vectors[..., found], vectors[:, dims])
