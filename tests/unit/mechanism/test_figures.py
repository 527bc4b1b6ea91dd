"""The figures of the mechanism, of as many models as there may be."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from triaxis.mechanism.figures import plot_additive, plot_contributions, plot_dummies, plot_pairs
from triaxis.mechanism.names import OWN, SCRAMBLED, SHARES
from triaxis.mechanism.summary import Dummies, Pairs
from unit.drawn import check

TWENTY = [f"m{n}{end}" for n in range(20) for end in ("", "-random")]


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_a_model_has_a_colour_of_its_own_and_its_control_the_same_dashed():
    own = Dummies(np.arange(4), np.array([[0.5], [0.6], [0.7]]) * np.ones(4))
    figure = plot_dummies(dict.fromkeys(TWENTY, own), TWENTY)
    check(figure)
    lines = figure.axes[0].lines
    assert len({line.get_color() for line in lines}) == 20
    for trained, control in zip(lines[::2], lines[1::2], strict=True):
        assert trained.get_color() == control.get_color()
        assert (trained.get_linestyle(), control.get_linestyle()) == ("-", "--")


@pytest.mark.parametrize("models", [["m"], ["m", "m-random"], TWENTY])
def test_additivity_is_on_the_scale_of_heads_within_a_page(models):
    values = {name: {model: np.full((3, 2), 0.3) for model in models} for name in SHARES}
    figure = plot_additive({OWN: values, SCRAMBLED: values}, models)
    check(figure)
    norms = [image.norm for panel in figure.axes for image in panel.images]
    assert len(norms) == 3 * (len(models) + sum(not model.endswith("random") for model in models))
    assert {(norm.vmin, norm.vcenter, norm.vmax) for norm in norms} == {(0, 0.65, 1)}


def pairs(size: float) -> list[Pairs]:
    names = ("norm_share", "key_constancy", "f", "g", "interaction")
    values = {f"{name}{end}": np.array([size, size / 2]) * scale for name in names for end, scale in ENDS.items()}
    return [Pairs(0, 3, np.array([4.0, 0.1]), values)]


ENDS = {"": 1.0, "_low": 0.9, "_high": 1.1}


@pytest.mark.parametrize("plot", [plot_pairs, plot_contributions])
def test_shares_of_pairs_have_bands_and_one_axis(plot):
    figure = plot({model: pairs(0.01 * (1 + n)) for n, model in enumerate(TWENTY)})
    check(figure)
    panels = figure.axes[::2]
    assert len({panel.get_ylim() for panel in panels}) == 1
    band = panels[0].collections[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([band.min(), band.max()], [0.0045, 0.011])
