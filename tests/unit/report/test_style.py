"""What all figures share: sizes, colours and the scale of maps."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from triaxis.report import style
from unit.drawn import check


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.mark.parametrize("models", [1, 4, 20, 40])
@pytest.mark.parametrize("wide", [1, 3])
def test_a_grid_of_panels_is_at_most_a_page(models, wide):
    figure, panels = style.panel_grid(models, wide, 2.4, share_x="all", share_y="model")
    assert panels.shape == (models, wide) and len(figure.axes) == models * wide
    assert figure.get_figheight() <= style.PAGE


def test_twenty_models_have_twenty_colours_and_controls_those_of_their_models():
    models = [f"m{n}" for n in range(20)]
    found = style.colour_of([*models, "m3-random"])
    rgb = np.array([to_rgb(found[model]) for model in models])
    apart = np.abs(rgb[:, None] - rgb).max(-1) + np.eye(20)
    assert apart.min() > 0.05
    assert found["m3-random"] == found["m3"]


def test_the_checkpoints_of_a_series_share_a_control():
    found = style.colour_of(["m.step0", "m.step8", "m-random"])
    assert found["m-random"] == found["m.step0"] != found["m.step8"]


@pytest.mark.parametrize("outlier", [0.9, 0.01])
def test_the_scale_of_heads_is_the_same_whatever_one_layer_does(outlier):
    r = np.full((3, 2), 0.9)
    r[1] = outlier
    figure = style.plot_by_head({"m": r, "m-random": r}, "r")
    norm = figure.axes[0].images[0].norm
    assert (norm.vmin, norm.vcenter, norm.vmax) == (0, 0.65, 1)
    below, above = (style.MAP(norm(value))[:3] for value in (0.6, 0.7))
    assert np.ptp(below) < 1e-6 < np.ptp(above)  # grey, and not


def test_maps_of_twenty_models_fit_a_page_with_whole_ticks():
    r = {f"m{n}{end}": np.full((3, 2), 0.9) for n in range(20) for end in ("", "-random")}
    figure = style.plot_by_head(r, "r")
    check(figure)
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        assert all(float(tick).is_integer() for tick in axis.get_ticklocs())


def test_titles_of_a_figure_are_of_one_size():
    _, panels = style.panel_grid(2, 2, 1.0)
    for n, panel in enumerate(panels.flat):
        style.title(panel, "name" * (1 + 20 * n))
    assert len({panel.title.get_fontsize() for panel in panels.flat}) == 1
