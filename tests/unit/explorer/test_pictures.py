"""Pictures: blocks are means of causal cells, and a pixel has the colour of its value."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from triaxis.explorer.pictures import COLOURS, DIVERGING, RISING, blocks, palette, picture


def pixels(address: str) -> np.ndarray:
    """(m, m, 4): red, green, blue and opacity."""
    kind, _, content = address.partition(",")
    assert kind == "data:image/png;base64"
    return np.array(Image.open(BytesIO(base64.b64decode(content))).convert("RGBA"))


def triangle(length: int) -> np.ndarray:
    values = np.random.default_rng(0).standard_normal((length, length))
    return np.where(np.tril(np.ones_like(values)) > 0, values, np.nan)


@pytest.mark.parametrize(("length", "side", "size"), [(8, 8, 1), (8, 4, 2), (10, 4, 3), (7, 16, 1)])
def test_a_pixel_is_the_mean_of_the_causal_cells_of_its_block(length, side, size):
    values = triangle(length)
    found = blocks(values, side)
    assert found.shape == (-(-length // size),) * 2 and len(found) <= side
    for row, column in np.ndindex(found.shape):
        block = values[row * size : (row + 1) * size, column * size : (column + 1) * size]
        known = block[np.isfinite(block)]
        assert found[row, column] == pytest.approx(known.mean()) if len(known) else np.isnan(found[row, column])


def test_colours_go_from_low_to_high_and_nothing_is_transparent():
    found = pixels(picture(np.array([[0.0, np.nan], [5.0, 99.0]]), 0, 10, RISING))
    assert found[0, 0, :3].tolist() == [0x44, 0x01, 0x54] and found[1, 1, :3].tolist() == [0xFD, 0xE7, 0x25]
    assert found[..., 3].tolist() == [[255, 0], [255, 255]]
    assert found[1, 0, :3].tolist() == palette(RISING)[round(0.5 * (COLOURS - 1))].tolist()


def test_a_constant_matrix_has_one_colour():
    found = pixels(picture(np.zeros((3, 3)), 0, 0, DIVERGING))
    assert len(np.unique(found.reshape(-1, 4), axis=0)) == 1


def test_the_same_values_give_the_same_bytes():
    values = blocks(triangle(64), 32)
    assert picture(values, -1, 1, RISING) == picture(values.copy(), -1, 1, RISING)
    assert len(picture(values, -1, 1, RISING)) < 2500
