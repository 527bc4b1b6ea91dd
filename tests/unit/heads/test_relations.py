"""Rank correlations over heads, and within layers, beside scipy's."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from triaxis.heads import relations

LAYER = np.repeat(np.arange(6), 8)
NOISE = np.random.default_rng(0).standard_normal((2, len(LAYER)))


def related(left, right, layer, samples, seed) -> dict[str, float]:
    """Of one pair; another measure on the right, of fewer heads, changes nothing."""
    others = {"right": right, "less": np.where(np.arange(len(right)) < 9, right, np.nan)}
    return relations.related({"left": left}, others, layer, samples, seed)["left", "right"]


def test_the_correlation_is_spearmans():
    left, right = NOISE[0], NOISE[0] + NOISE[1]
    found = related(left, right, LAYER, 200, 0)
    assert found["heads"] == 48 and found["r"] == pytest.approx(spearmanr(left, right).statistic)
    assert found["r_low"] < found["r"] < found["r_high"]


def test_a_trend_over_layers_is_none_within_them():
    found = related(LAYER + 0.01 * NOISE[0], LAYER + 0.01 * NOISE[1], LAYER, 200, 0)
    assert found["r"] > 0.9 and found["within_low"] < 0 < found["within_high"]


def test_within_layers_only_ranks_in_the_layer_count():
    found = related(NOISE[0] + 100 * LAYER, np.exp(NOISE[0]) - 100 * LAYER, LAYER, 200, 0)
    assert found["within"] == pytest.approx(1) and found["r"] < 0


def test_heads_are_drawn_from_their_own_layers():
    drawn = relations._resamples(LAYER, 50, 0)
    assert (LAYER[drawn] == LAYER).all() and len(np.unique(drawn[:, :8])) == 8


def test_what_is_unknown_or_constant_has_none():
    some = np.where(LAYER < 2, NOISE[0], np.nan)
    found = related(some, NOISE[1], LAYER, 200, 0)
    assert found["heads"] == 16 and found["r"] == pytest.approx(spearmanr(some[:16], NOISE[1][:16]).statistic)
    nothing = related(np.full(48, np.nan), NOISE[1], LAYER, 200, 0)
    assert nothing["heads"] == 0 and np.isnan([nothing["r"], nothing["r_low"], nothing["within"]]).all()
    constant = related(np.ones(48), NOISE[1], LAYER, 200, 0)
    assert constant["heads"] == 48 and np.isnan([constant["r"], constant["r_low"]]).all()
    layers = related(NOISE[0], LAYER.astype(float), LAYER, 200, 0)
    assert np.isfinite(layers["r_low"]) and np.isnan(layers["within"])
    few = related(NOISE[0][:4], NOISE[1][:4], LAYER[:4], 200, 0)
    assert np.isfinite(few["r"]) and np.isnan(few["r_low"])
