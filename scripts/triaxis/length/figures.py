"""The figures of length: what a model does past its training length, method by method."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from triaxis.base import tables
from triaxis.length import summary
from triaxis.length.components import Continued, continuation
from triaxis.length.summary import Clouds, LossCurve, Passkeys
from triaxis.report.style import (
    BLUE,
    GREEN,
    GREY,
    LEAST,
    ORANGE,
    PAGE,
    VERMILION,
    WIDTH,
    legend_above,
    panel_grid,
    say,
    title,
)

Array = NDArray[np.floating]

# One colour, mark and line a method, in all figures; the controls, which change one thing alone, are dashed.
LOOK = {
    "plain": (VERMILION, "o", "-"),
    "lm_infinite": (BLUE, "s", "-"),
    "inf_llm": (GREEN, "^", "-"),
    "inf_llm_published": ("#CC79A7", "v", "-"),
    "clipped": ("#882255", "<", "--"),
    "thinned": ("#999933", ">", "--"),
    "clipped_thinned": ("#44AA99", "d", "--"),
    "yarn": (ORANGE, "D", "-"),
    "linear": ("#56B4E9", "P", "-"),
    "dynamic": ("black", "X", "-"),
}
Key = tuple[str, str]


def _mark_training(panel: Axes, training_length: int, which: str) -> None:
    """A line where training ended; `which`: whether that length is the model's own."""
    label = "training length" + ("" if which == "the model's own" else " (override)")
    panel.axvline(training_length, color=GREY, linewidth=0.8, linestyle="--", label=f"{label}, {training_length:,}")


def _lengths_axis(panel: Axes, lengths: Array) -> None:
    panel.set_xscale("log", base=2)
    panel.set_xticks(lengths)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    close = bool((lengths[1:] < 1.3 * lengths[:-1]).any())
    panel.tick_params(axis="x", labelrotation=90 if close else 45 if len(lengths) > 3 else 0)


def _legend(figure: Figure, panel: Axes) -> None:
    """What one panel draws, as the legend of all."""
    handles, labels = panel.get_legend_handles_labels()
    legend_above(figure, handles, labels)


def _draw(
    panel: Axes,
    method: str,
    x: Array,
    y: Array,
    band: tuple[Array, Array] | None = None,
    size: float = 3.5,
) -> None:
    """A method's line and its band, from low to high, which is empty where one of them is NaN."""
    colour, mark, line = LOOK[method]
    panel.plot(x, y, marker=mark, color=colour, linestyle=line, markersize=size, label=method)
    if band is not None:
        panel.fill_between(x, *band, color=colour, alpha=0.15, linewidth=0)


def plot_loss(
    curves: Mapping[Key, LossCurve],
    models: Sequence[str],
    methods: Sequence[str],
    training: Mapping[str, tuple[int, str]],
) -> Figure:
    """Loss against position by method at the longest length, the training length marked; band: its interval."""
    figure, panels = panel_grid(len(models), 1, 2.6, above=0.9, share_x="all", share_y="all", least=0.7)
    for (panel,), model in zip(panels, models, strict=True):
        for method in methods:
            own = curves[model, method]
            _draw(panel, method, own.position, own.loss, (own.low, own.high), size=2.5)
        _mark_training(panel, *training[model])
        title(panel, model)
        panel.grid(axis="y", linewidth=0.3)
    figure.supxlabel("position (tokens)", fontsize=8)
    figure.supylabel("loss (nats a token)", fontsize=8)
    _legend(figure, panels[0, 0])
    return figure


def plot_clouds(
    clouds: Mapping[str, Clouds], methods: Sequence[str], training: Mapping[str, tuple[int, str]]
) -> Figure:
    """Outputs of one head in the reference's first two principal components: a row a length, a column a method; of many
    models, the longest length alone."""
    rows = [(model, length) for model, own in clouds.items() for length in sorted({length for _, length in own.points})]
    if len(rows) * LEAST + 0.8 > PAGE:
        rows = [(model, max(length for _, length in own.points)) for model, own in clouds.items()]
    figure, panels = panel_grid(len(rows), len(methods), 1.1, above=0.8, share_x="model", share_y="model", least=0.3)
    for row, (model, length) in zip(panels, rows, strict=True):
        own = clouds[model]
        every = np.concatenate([own.reference, *own.points.values()])
        for panel, method in zip(row, methods, strict=True):
            panel.scatter(*own.reference.T, s=1.5, color=GREY, alpha=0.35, linewidths=0, rasterized=True)
            points = own.points[method, length]
            panel.scatter(*points.T, s=2, color=LOOK[method][0], alpha=0.7, linewidths=0, rasterized=True)
            panel.set(xticks=[], yticks=[], xlim=_ends(every[:, 0]), ylim=_ends(every[:, 1]))
        beyond = "\n(beyond)" if length > training[model][0] else ""
        name = f"{model}\n{own.name}\n{length:,} tokens{beyond}"
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=5.5)
    for panel, method in zip(panels[0], methods, strict=True):
        panel.set_title(method.replace("_", "_\n"), fontsize=5.5, pad=3)
    figure.supxlabel("first principal component", fontsize=8)
    figure.supylabel("second principal component", fontsize=8)
    return figure


def _ends(values: Array) -> tuple[float, float]:
    """Ends of an axis a little beyond all values."""
    low, high = float(values.min()), float(values.max())
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def plot_outliers(
    rows: Sequence[Mapping[str, Any]],
    models: Sequence[str],
    methods: Sequence[str],
    training: Mapping[str, tuple[int, str]],
) -> Figure:
    """Outlier share, outside the reference's 99 % region, and energy distance, against length.

    rows: those of length.csv. Means over heads; band: the share's interval over sequences; dotted: what outputs like
    the reference's would have.
    """
    figure, panels = panel_grid(len(models), 2, 2.3, above=1.0, share_x="all", least=0.7)
    for (share, energy), model in zip(panels, models, strict=True):
        for method in methods:
            own = _measured(rows, model, method, "outlier_share")
            _draw(
                share,
                method,
                own["length"],
                own["outlier_share"],
                (own["outlier_share_low"], own["outlier_share_high"]),
            )
            _draw(energy, method, own["length"], own["energy"])
        for panel, expected, label in (
            (share, own["outlier_expected"][0], "share of outputs outside"),
            (energy, 0, "energy distance"),
        ):
            panel.axhline(expected, color=GREY, linewidth=0.8, linestyle=":", label="expected of such outputs")
            _mark_training(panel, *training[model])
            _lengths_axis(panel, own["length"])
            title(panel, f"{model}, {label}")
    # All shares on one axis, and all distances on another.
    for column, bottom in zip(panels.T, (0, None), strict=True):
        ends = np.array([panel.get_ylim() for panel in column])
        for panel in column:
            panel.set_ylim(ends[:, 0].min() if bottom is None else bottom, ends[:, 1].max())
    figure.supxlabel("length (tokens)", fontsize=8)
    _legend(figure, panels[0, 0])
    return figure


def plot_attention(
    rows: Sequence[Mapping[str, Any]],
    models: Sequence[str],
    methods: Sequence[str],
    training: Mapping[str, tuple[int, str]],
) -> Figure:
    """Entropy of attention, and mean and spread of the logits, against length; rows: those of length.csv."""
    names = {"entropy": "entropy (nats)", "logit_mean": "mean logit", "logit_sd": "deviation of logits"}
    figure, panels = panel_grid(len(models), len(names), 2.1, above=1.0, share_x="all", least=0.7)
    for row, model in zip(panels, models, strict=True):
        for panel, (name, label) in zip(row, names.items(), strict=True):
            for method in methods:
                own = _measured(rows, model, method, name)
                _draw(panel, method, own["length"], own[name])
            _mark_training(panel, *training[model])
            _lengths_axis(panel, own["length"])
            title(panel, f"{model}\n{label}")
    figure.supxlabel("length (tokens)", fontsize=8)
    _legend(figure, panels[0, 0])
    return figure


def _measured(rows: Sequence[Mapping[str, Any]], model: str, method: str, name: str) -> dict[str, Array]:
    """The columns of the rows of a method in which `name` is a number: a length of passkeys alone has none."""
    own = [row for row in rows if (row["model"], row["method"]) == (model, method) and np.isfinite(row[name])]
    return {
        column: np.array([row[column] for row in own]) for column in own[0] if isinstance(own[0][column], int | float)
    }


def plot_components(
    typical: Mapping[Key, tuple[str, Continued]],
    errors: Mapping[Key, tuple[Array, Array]],
    training: Mapping[str, tuple[int, str]],
) -> Figure:
    """Distance components past the training length: a typical head's curves, and how the closed form errs in all.

    errors: (model, method) -> error within and beyond the training length (heads of all layers,).
    """
    models = list(dict.fromkeys(model for model, _ in typical))
    if not models:
        return say("no method keeps true distances")
    every = {model: [method for own, method in typical if own == model] for model in models}
    # Of many models, the curves of one method alone; the errors are of all.
    methods = {model: own if len(models) <= 3 else sorted(own, key="plain".__ne__)[:1] for model, own in every.items()}
    wide = max(map(len, methods.values())) + 1
    # Panels of one model fill rows; those of several have a row each.
    across = min(wide, 3) if len(models) == 1 else wide
    rows = -(-wide // across) * len(models)
    figure, grid = panel_grid(rows, across, 1.9, above=1.2, least=0.7)
    for row, model in zip(grid.reshape(len(models), -1), models, strict=True):
        for panel in row[len(methods[model]) + 1 :]:
            panel.set_axis_off()
        for panel, method in zip(row, methods[model], strict=False):
            name, own = typical[model, method]
            for (label, colour, line), curve in zip(CURVES, (own.whole, own.inside, own.closed), strict=True):
                panel.plot(own.distance, curve[0], line, color=colour, linewidth=0.8, label=label)
            panel.axvline(training[model][0], color=GREY, linewidth=0.8, linestyle="--", label="training length")
            panel.locator_params(nbins=3)
            title(panel, f"{model}\n{method}, {name}", most=7)
        scatter = row[len(methods[model])]
        for method in every[model]:
            inside, beyond = errors[model, method]
            colour, mark, _ = LOOK[method]
            scatter.scatter(inside, beyond, s=4, color=colour, marker=mark, alpha=0.5, linewidths=0, label=method)
        _errors_axes(scatter, [errors[model, method] for method in every[model]])
        title(scatter, f"{model}\nerrors of all heads", most=7)
    figure.supxlabel("distance (tokens); last panel: closed form's error within training length (logits)", fontsize=8)
    figure.supylabel("distance component (logits); last panel: error beyond", fontsize=8)
    curves, last = grid.flat[0].get_legend_handles_labels(), grid.reshape(len(models), -1)[0, len(methods[models[0]])]
    of_methods = last.get_legend_handles_labels()
    legend_above(figure, [*curves[0], *of_methods[0]], [*curves[1], *of_methods[1]])
    return figure


# What plot_components draws of a head: name, colour and line.
CURVES = (
    ("fit of the whole length", VERMILION, "-"),
    ("fit within the training length", BLUE, "--"),
    ("closed form, from within", GREEN, ":"),
)


def _errors_axes(panel: Axes, errors: Sequence[tuple[Array, Array]]) -> None:
    """Logarithmic axes of errors, and the line of equal ones."""
    values = np.concatenate([side for pair in errors for side in pair])
    values = values[np.isfinite(values) & (values > 0)]
    if len(values):
        ends = [values.min(), values.max()]
        panel.plot(ends, ends, color=GREY, linewidth=0.6)
    panel.set(xscale="log", yscale="log")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(LogLocator(numticks=4))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def plot_passkeys(grids: Mapping[Key, Passkeys], models: Sequence[str], methods: Sequence[str]) -> Figure:
    """Share of passkeys given right, and in each cell how many of how many: a panel a method, by length and depth; of
    many models, a panel a model, by length and method."""
    shown = {key: grids[key] for model in models for method in methods if (key := (model, method)) in grids}
    if not shown:
        return say("no passkeys were asked for")
    if len(shown) > MOST_GRIDS:
        maps = {model: _by_method({key[1]: own for key, own in shown.items() if key[0] == model}) for model in models}
        return _draw_passkeys(maps, "", 3)
    maps = {
        f"{model}\n{method}": (own.right, own.asked, own.lengths, [f"{depth:g}" for depth in own.depths])
        for (model, method), own in shown.items()
    }
    return _draw_passkeys(maps, "depth", min(len(shown), 4))


# Right, asked (rows, lengths), lengths and names of the rows.
PasskeyMap = tuple[NDArray[np.integer], NDArray[np.integer], list[int], list[str]]
# More panels have no place on a page.
MOST_GRIDS = 20


def _by_method(grids: Mapping[str, Passkeys]) -> PasskeyMap:
    """One model's passkeys at all depths, a row a method."""
    right, asked = (np.stack([getattr(own, name).sum(0) for own in grids.values()]) for name in ("right", "asked"))
    return right, asked, next(iter(grids.values())).lengths, list(grids)


def _draw_passkeys(maps: Mapping[str, PasskeyMap], name: str, columns: int) -> Figure:
    rows = -(-len(maps) // columns)
    height = min(1.9, (PAGE - 0.4) / rows)
    figure, panels = plt.subplots(rows, columns, figsize=(WIDTH, height * rows + 0.3), squeeze=False)
    for panel in panels.flat[len(maps) :]:
        panel.set_axis_off()
    for number, (panel, (told, (right, asked, lengths, names))) in enumerate(
        zip(panels.flat, maps.items(), strict=False)
    ):
        image = panel.imshow(right / asked, vmin=0, vmax=1, cmap="cividis", aspect="auto")
        size = float(np.clip(0.55 * 72 * height / (len(names) + 1.5), 3.5, 7))
        for (row, column), count in np.ndenumerate(asked):
            colour = "black" if right[row, column] > count / 2 else "white"
            cell = f"{right[row, column]}/{count}"
            panel.text(column, row, cell, ha="center", va="center", color=colour, fontsize=size)
        panel.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths], fontsize=6)
        panel.set_yticks(range(len(names)), names if name or number % columns == 0 else [], fontsize=min(6, size + 1))
        title(panel, told)
    figure.supxlabel("length (tokens)", fontsize=8)
    figure.supylabel(name, fontsize=8)
    figure.colorbar(image, ax=panels, label="share right", pad=0.01, shrink=min(1, 3 / figure.get_figheight()))
    return figure


def plot_costs(rows: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> Figure:
    """Time and memory of a sequence against length, by method: the median of the passes after a first one, with bars
    from the fastest to the slowest; rows: those of length_costs.csv."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, panels = panel_grid(len(models), 2, 2.3, above=1.0, share_x="all", least=0.7)
    for (time, memory), model in zip(panels, models, strict=True):
        for method in methods:
            own = [row for row in rows if (row["model"], row["method"]) == (model, method)]
            at = {name: np.array([row[name] for row in own]) for name in COSTS}
            _draw(time, method, at["length"], at["seconds"])
            time.vlines(at["length"], at["fastest"], at["slowest"], color=LOOK[method][0], linewidth=0.8)
            _draw(memory, method, at["length"], at["memory_mb"])
        # A slow pass may be far off: its bar is cut.
        time.set_ylim(top=1.5 * max(row["seconds"] for row in rows if row["model"] == model))
        for panel, label in ((time, "seconds"), (memory, "peak memory (MiB)")):
            panel.set_ylim(bottom=0)
            panel.set_xlim(left=0)
            title(panel, f"{model}, {label}")
    figure.supxlabel("length (tokens)", fontsize=8)
    _legend(figure, panels[0, 0])
    return figure


COSTS = ("length", "seconds", "fastest", "slowest", "memory_mb")


def _training(files: Sequence[str]) -> dict[str, tuple[int, str]]:
    """model -> its training length and what that is, from files of length/."""
    return {summary.model_of(file): summary.training_of(file) for file in files}


def length_loss(
    losses: Sequence[str], models: Sequence[str], methods: Sequence[str], samples: int, seed: int
) -> Figure:
    """Loss against position, from length/losses/."""
    return plot_loss(summary.loss_curves(losses, samples, seed), models, methods, _training(losses))


def length_clouds(clouds: Sequence[str], distances: Sequence[str], methods: Sequence[str]) -> Figure:
    """Attention outputs of one head a model, from length/clouds/ and length/distances/."""
    typical = {
        summary.model_of(cloud): summary.typical_clouds(cloud, distance)
        for cloud, distance in zip(clouds, distances, strict=True)
    }
    return plot_clouds(typical, methods, _training(clouds))


def _of_table(table: str) -> tuple[list[dict[str, Any]], dict[str, tuple[int, str]]]:
    """The rows of length.csv, and model -> its training length and what that is."""
    rows = tables.from_csv(table)
    return rows, {row["model"]: (row["training_length"], row["training_length_is"]) for row in rows}


def length_outliers(table: str, models: Sequence[str], methods: Sequence[str]) -> Figure:
    """Attention outputs against the reference by length, from length.csv."""
    rows, training = _of_table(table)
    return plot_outliers(rows, models, methods, training)


def length_attention(table: str, models: Sequence[str], methods: Sequence[str]) -> Figure:
    """Entropy of attention and the logits' mean and spread against length, from length.csv."""
    rows, training = _of_table(table)
    return plot_attention(rows, models, methods, training)


def length_components(components: Sequence[str]) -> Figure:
    """How distance components go on past the training length, from length/components/."""
    training = _training(components)
    typical, errors = {}, {}
    for key, own in summary.curves_of(components).items():
        found = continuation(own.own, training[key[0]][0])
        typical[key] = summary.typical_curve(own, training[key[0]][0])
        errors[key] = found["error_inside"], found["error_beyond"]
    return plot_components(typical, errors, training)


def length_passkeys(passkeys: Sequence[str], models: Sequence[str], methods: Sequence[str]) -> Figure:
    """Share of hidden numbers given right by length and depth, from length/passkeys/."""
    return plot_passkeys(summary.passkey_grids(passkeys), models, methods)


def length_costs(table: str, methods: Sequence[str]) -> Figure:
    """Time and memory against length, from length_costs.csv."""
    return plot_costs(tables.from_csv(table), methods)
