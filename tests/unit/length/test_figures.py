"""The figures of length, of one model and of as many as there may be."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from triaxis.length.components import Continued
from triaxis.length.figures import LOOK, plot_clouds, plot_components, plot_costs, plot_passkeys
from triaxis.length.summary import Clouds, Passkeys
from unit.drawn import check

METHODS = list(LOOK)
LENGTHS = [128, 256, 512, 1024]
COUNTS = [1, 20]


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def models_of(count: int) -> list[str]:
    return [f"m{n}" for n in range(count)]


@pytest.mark.parametrize("count", COUNTS)
def test_clouds_of_all_methods_fit_a_page(count):
    points = np.random.default_rng(0).standard_normal((5, 2))
    own = Clouds("layer 0 head 0", points, {(method, length): points for method in METHODS for length in LENGTHS})
    models = models_of(count)
    figure = plot_clouds(dict.fromkeys(models, own), METHODS, dict.fromkeys(models, (256, "the model's own")))
    check(figure)
    rows = count * len(LENGTHS) if count == 1 else count
    assert len(figure.axes) == len(METHODS) * rows


@pytest.mark.parametrize("count", COUNTS)
def test_components_of_all_methods_fit_a_page(count):
    distance = np.arange(20)
    curves = np.ones((1, 20))
    own = "layer 0 head 0", Continued(distance, distance[::-1] + 1, curves, curves, curves)
    models = models_of(count)
    keys = [(model, method) for model in models for method in ("linear", "plain", "yarn")]
    errors = np.array([0.1, 0.2]), np.array([0.3, np.nan])
    figure = plot_components(dict.fromkeys(keys, own), dict.fromkeys(keys, errors), dict.fromkeys(models, (8, "")))
    check(figure)
    drawn = [panel for panel in figure.axes if panel.axison]
    assert len(drawn) == count * (4 if count <= 3 else 2)
    # The errors of every method, also where the curves are those of plain alone.
    assert len(drawn[-1].collections) == 3


@pytest.mark.parametrize("count", COUNTS)
def test_each_cell_of_passkeys_says_how_many_of_how_many(count):
    own = Passkeys(LENGTHS, [0.1, 0.9], np.full((2, 4), 10), np.full((2, 4), 3))
    models = models_of(count)
    figure = plot_passkeys({(model, method): own for model in models for method in METHODS}, models, METHODS)
    check(figure)
    cells = {text.get_text() for panel in figure.axes for text in panel.texts}
    assert cells == ({"3/10"} if count == 1 else {"6/20"})


@pytest.mark.parametrize("count", COUNTS)
def test_costs_are_medians_with_bars_and_no_slow_pass_sets_the_scale(count):
    rows = [
        {"model": model, "method": method, "length": length, "seconds": length / 100, "memory_mb": 10.0}
        | {"fastest": length / 200, "slowest": 1e4}
        for model in models_of(count)
        for method in METHODS
        for length in LENGTHS
    ]
    figure = plot_costs(rows, METHODS)
    check(figure)
    time = figure.axes[0]
    assert time.get_ylim() == (0, pytest.approx(1.5 * 10.24))
    assert list(time.lines[0].get_ydata()) == [length / 100 for length in LENGTHS]
    ends = time.collections[0].get_segments()[0]
    assert ends[:, 1].tolist() == [0.64, 1e4]
