"""How the three-axis components of a long text go on past the training length (docs/method/length.md)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from triaxis.base.stats import weighted_correlation
from triaxis.length.schema import COMPONENTS

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Continued:
    """Distance components of one layer; distance (n,), cells (n,) of the thinned matrix; others (heads, n), in logits.

    whole: a_d of the fit of all positions. inside: of the fit of those within the training length, NaN beyond it.
    closed: f of the mean query and the mean key of the positions within the training length, at any distance.
    """

    distance: NDArray[np.integer]
    cells: NDArray[np.integer]
    whole: Array
    inside: Array
    closed: Array


def to_table(method: str, length: int, layers: Mapping[int, Continued]) -> pa.Table:
    """The rows of length/components/."""
    blocks = []
    for layer, own in layers.items():
        heads, n = own.whole.shape
        columns = {
            "method": pa.repeat(method, heads * n),
            "length": np.full(heads * n, length, np.int32),
            "layer": np.full(heads * n, layer, np.int16),
            "head": np.repeat(np.arange(heads, dtype=np.int16), n),
            "distance": np.tile(own.distance.astype(np.int32), heads),
            "cells": np.tile(own.cells.astype(np.int32), heads),
            "whole": own.whole.ravel(),
            "inside": pa.array(own.inside.ravel(), from_pandas=True),
            "closed": own.closed.ravel(),
        }
        blocks.append(pa.table(columns, schema=COMPONENTS))
    return pa.concat_tables(blocks) if blocks else COMPONENTS.empty_table()


def align(curve: Array, to: Array, weights: Array, inside: NDArray[np.bool_]) -> Array:
    """curve (n,) plus the constant and the trend that bring it nearest to `to` (n,) where `inside`, by weighted least
    squares: the gauge leaves both open."""
    ramp = np.stack([np.ones(len(curve)), np.arange(len(curve), dtype=np.float64)], axis=1)
    root = np.sqrt(weights[inside])[:, None]
    shift, *_ = np.linalg.lstsq(ramp[inside] * root, (to - curve)[inside] * root[:, 0], rcond=None)
    return curve + ramp @ shift


def continuation(own: Continued, training_length: int) -> dict[str, Array]:
    """How well the components within the training length predict those of the whole; arrays (heads,).

    Curves are aligned within the training length alone (`align`). r_inside: correlation there of the fit within and
    the fit of the whole. r_closed: of the closed form and the fit of the whole, there. error_inside, error_beyond:
    root mean square of the fit of the whole minus the closed form, in logits; NaN where nothing is beyond.
    """
    within = own.distance < training_length
    found: dict[str, list[float]] = {"r_inside": [], "r_closed": [], "error_inside": [], "error_beyond": []}
    for whole, inside, closed in zip(own.whole, own.inside, own.closed, strict=True):
        weights = own.cells.astype(np.float64)
        fit, form = (
            align(np.nan_to_num(curve), whole, weights, within & np.isfinite(curve)) for curve in (inside, closed)
        )
        flat = align(np.zeros_like(whole), whole, weights, within)  # its own trend
        error = (whole - form) ** 2
        found["r_inside"].append(float(weighted_correlation(fit - flat, whole - flat, weights * within)))
        found["r_closed"].append(float(weighted_correlation(form - flat, whole - flat, weights * within)))
        for name, chosen in (("error_inside", within), ("error_beyond", ~within)):
            some = weights * chosen
            found[name].append(float(np.sqrt(some @ error / some.sum())) if some.sum() else float("nan"))
    return {name: np.array(values) for name, values in found.items()}
