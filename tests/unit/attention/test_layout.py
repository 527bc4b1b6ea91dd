"""The rotation of a layout, against its definition, wherever its pairs are."""

import pytest
import torch

from triaxis.attention.layout import Layout

# Dimensions of each pair, the one that loses by its partner first, and the columns that the two read.
PAIRS = {
    "halves": [((n, n + 4), (n, n + 4)) for n in range(4)],
    "neighbours": [((2 * n, 2 * n + 1), (2 * n, 2 * n + 1)) for n in range(4)],
    "half a table": [((2 * n, 2 * n + 1), (n, n)) for n in range(4)],
    "partial": [((n + 3, n + 5), (n, n + 2)) for n in range(2)],
    "one pair": [((6, 1), (0, 1))],
    "of either sense": [((0, 4), (0, 4)), ((5, 1), (5, 1)), ((2, 6), (2, 6)), ((7, 3), (7, 3))],
    "in no order": [((7, 0), (3, 3)), ((1, 4), (0, 5)), ((6, 2), (2, 1))],
    "none": [],
}


def layout_of(pairs, precision: torch.dtype) -> Layout:
    """As `probe_layouts` makes it: by dimension, ascending."""
    rows = sorted(
        row
        for (real, imaginary), (first, second) in pairs
        for row in ((real, imaginary, -1, first), (imaginary, real, 1, second))
    )
    dimension, partner, sign, column = torch.tensor(rows, dtype=torch.long).reshape(-1, 4).T
    return Layout(8, dimension, partner, sign, column, precision)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", PAIRS)
def test_rotation_is_its_definition_to_the_bit(kind, dtype, precision):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 3, 8, generator=random).to(dtype).transpose(1, 2)  # (batch, heads, length, head_dim)
    cos, sin = torch.randn(2, 1, 5, 8, generator=random)
    layout = layout_of(PAIRS[kind], precision)
    wide = torch.promote_types(dtype, precision)
    expected, untouched = x.clone(), x.clone()
    for d, other, sign, column in zip(layout.dimension, layout.partner, layout.sign, layout.column, strict=True):
        c, s = (table[:, None, :, column].to(wide) for table in (cos, sin))
        expected[..., d] = (x[..., d].to(wide) * c + x[..., other].to(wide) * (sign * s)).to(dtype)
    assert torch.equal(layout.rotate(x, cos, sin), expected)
    assert torch.equal(x, untouched)
