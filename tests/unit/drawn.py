"""What every figure is held to, as far as it can be told without eyes."""

from matplotlib.figure import Figure

from triaxis.report.style import PAGE, WIDTH


def check(figure: Figure) -> None:
    """At most a page, and every legend of the figure off its panels."""
    assert figure.get_figheight() <= PAGE and figure.get_figwidth() <= WIDTH
    if figure.legends:
        figure.draw_without_rendering()
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert not any(box.overlaps(panel.get_window_extent()) for panel in figure.axes if panel.axison)
