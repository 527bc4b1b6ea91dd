"""Matrices as small pictures: a pixel is the mean of a block of causal cells, in one of 32 colours."""

import base64
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.floating]

# Colours in order, between which others lie: viridis (matplotlib), and orange to purple (ColorBrewer's PuOr).
RISING = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
DIVERGING = ("#b35806", "#fdb863", "#f7f7f7", "#b2abd2", "#542788")
# Fewer colours, smaller files; one number more stands for what is no cell.
COLOURS = 32


def blocks(matrix: Array, pixels: int) -> Array:
    """(..., n, n) causal cells, NaN above the diagonal -> (..., m, m), m at most `pixels`: means over square blocks of
    cells, those of a block that are causal."""
    size = -(-matrix.shape[-1] // pixels)
    beyond = -matrix.shape[-1] % size
    padded = np.pad(matrix, [(0, 0)] * (matrix.ndim - 2) + [(0, beyond)] * 2, constant_values=np.nan)
    count = padded.shape[-1] // size
    parts = padded.reshape(*matrix.shape[:-2], count, size, count, size)
    known = np.isfinite(parts)
    cells = known.sum((-3, -1))
    total = np.where(known, parts, 0).sum((-3, -1))
    return np.divide(total, cells, out=np.full(total.shape, np.nan), where=cells > 0)


def picture(values: Array, low: float, high: float, colours: tuple[str, ...]) -> str:
    """Values (m, m) as a PNG in a data: address; low and high have the first and the last colour, NaN none."""
    level = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    index = np.where(np.isfinite(values), np.clip(np.nan_to_num(level), 0, 1) * (COLOURS - 1), COLOURS)
    image = Image.fromarray(np.rint(index).astype(np.uint8), "P")
    image.putpalette([*palette(colours).ravel().tolist(), 255, 255, 255])
    content = BytesIO()
    image.save(content, "PNG", transparency=COLOURS, bits=8, compress_level=9)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def palette(colours: tuple[str, ...]) -> NDArray[np.uint8]:
    """(COLOURS, 3): red, green and blue of colours evenly spaced between those named."""
    named = np.array([[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in colours], float)
    at = np.linspace(0, len(named) - 1, COLOURS)
    return np.stack([np.interp(at, np.arange(len(named)), part) for part in named.T], axis=1).round().astype(np.uint8)
