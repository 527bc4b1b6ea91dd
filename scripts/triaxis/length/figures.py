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
from triaxis.report.style import BLUE, GREEN, GREY, ORANGE, VERMILION, WIDTH, say

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


def _panels(models: Sequence[str], columns: int = 1, height: float = 2.4) -> tuple[Figure, list[list[Axes]]]:
    width = WIDTH if columns > 1 else 0.7 * WIDTH
    figure, panels = plt.subplots(len(models), columns, figsize=(width, height * len(models)), squeeze=False)
    return figure, panels.tolist()


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
    panel.set_xlabel("length (tokens)")


def _legend(figure: Figure, panel: Axes) -> None:
    """The legend of a panel above the figure, which grows by its rows."""
    handles, labels = panel.get_legend_handles_labels()
    columns = round(4 * figure.get_figwidth() / WIDTH)
    figure.set_figheight(figure.get_figheight() + 0.16 * (-(-len(labels) // columns) - 1))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)


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
    figure, panels = _panels(models)
    for (panel,), model in zip(panels, models, strict=True):
        for method in methods:
            own = curves[model, method]
            _draw(panel, method, own.position, own.loss, (own.low, own.high), size=2.5)
        _mark_training(panel, *training[model])
        panel.set(xlabel="position (tokens)", ylabel="loss (nats a token)", title=model)
        panel.grid(axis="y", linewidth=0.3)
    _legend(figure, panels[0][0])
    return figure


def plot_clouds(
    clouds: Mapping[str, Clouds], methods: Sequence[str], training: Mapping[str, tuple[int, str]]
) -> Figure:
    """Outputs of one head in the reference's first two principal components: a row a method, a column a length."""
    rows = [(model, method) for model in clouds for method in methods]
    lengths = {model: sorted({length for _, length in own.points}) for model, own in clouds.items()}
    columns = max(map(len, lengths.values()))
    figure, panels = plt.subplots(
        len(rows), columns, figsize=(WIDTH, 1.55 * len(rows) + 0.5), squeeze=False, sharex="all", sharey="all"
    )
    for row, (model, method) in zip(panels, rows, strict=True):
        own = clouds[model]
        for panel in row[len(lengths[model]) :]:
            panel.set_axis_off()
        for panel, length in zip(row, lengths[model], strict=False):
            points = own.points[method, length]
            panel.scatter(
                *own.reference.T, s=3, color=GREY, alpha=0.35, linewidths=0, rasterized=True, label="reference"
            )
            panel.scatter(*points.T, s=4, color=LOOK[method][0], alpha=0.7, linewidths=0, rasterized=True)
            beyond = " beyond" if length > training[model][0] else ""
            panel.set_title(f"{length:,}{beyond}")
            panel.set_xticks([])
            panel.set_yticks([])
        row[0].set_ylabel(method)
    names = "; ".join(f"{model}, {own.name}" for model, own in clouds.items())
    figure.suptitle(f"{names}: grey, outputs within the training length", fontsize=8)
    figure.supxlabel("first principal component", fontsize=8)
    figure.supylabel("second principal component", fontsize=8)
    return figure


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
    figure, panels = _panels(models, 2)
    for (share, energy), model in zip(panels, models, strict=True):
        for method in methods:
            own = _measured(rows, model, method, "outlier_share")
            percent = {end: 100 * own[f"outlier_share{end}"] for end in ("", "_low", "_high")}
            _draw(share, method, own["length"], percent[""], (percent["_low"], percent["_high"]))
            _draw(energy, method, own["length"], own["energy"])
        for panel, expected, label in (
            (share, 100 * own["outlier_expected"][0], "outputs outside (%)"),
            (energy, 0, "energy distance"),
        ):
            panel.axhline(expected, color=GREY, linewidth=0.8, linestyle=":", label="expected of such outputs")
            _mark_training(panel, *training[model])
            _lengths_axis(panel, own["length"])
            panel.set(ylabel=label, title=model)
        share.set_ylim(bottom=0)
    _legend(figure, panels[0][0])
    return figure


def plot_attention(
    rows: Sequence[Mapping[str, Any]],
    models: Sequence[str],
    methods: Sequence[str],
    training: Mapping[str, tuple[int, str]],
) -> Figure:
    """Entropy of attention, and mean and spread of the logits, against length; rows: those of length.csv."""
    names = {"entropy": "entropy (nats)", "logit_mean": "mean logit", "logit_sd": "deviation of logits"}
    figure, panels = _panels(models, len(names), 2.2)
    for row, model in zip(panels, models, strict=True):
        for panel, (name, label) in zip(row, names.items(), strict=True):
            for method in methods:
                own = _measured(rows, model, method, name)
                _draw(panel, method, own["length"], own[name])
            _mark_training(panel, *training[model])
            _lengths_axis(panel, own["length"])
            panel.set_ylabel(label)
        row[0].set_title(model)
    _legend(figure, panels[0][0])
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
    keys = list(typical)
    figure, panels = plt.subplots(max(len(keys), 1), 2, figsize=(WIDTH, 2.4 * max(len(keys), 1)), squeeze=False)
    for row, key in zip(panels, keys, strict=False):
        model, method = key
        name, own = typical[key]
        curve, scatter = row
        curve.plot(own.distance, own.whole[0], color=VERMILION, label="fit of the whole length")
        curve.plot(own.distance, own.inside[0], color=BLUE, linestyle="--", label="fit within the training length")
        curve.plot(own.distance, own.closed[0], color=GREEN, linestyle=":", label="closed form, from within")
        curve.axvline(training[model][0], color=GREY, linewidth=0.8, linestyle="--")
        curve.set(xlabel="distance (tokens)", ylabel="distance component (logits)", title=f"{model}, {method}: {name}")
        inside, beyond = errors[key]
        scatter.scatter(inside, beyond, s=5, color=BLUE, alpha=0.6, linewidths=0)
        finite = np.concatenate([inside, beyond])
        finite = finite[np.isfinite(finite) & (finite > 0)]
        if len(finite):
            ends = [finite.min(), finite.max()]
            scatter.plot(ends, ends, color=GREY, linewidth=0.6)
        scatter.set(
            xscale="log",
            yscale="log",
            xlabel="closed form's error within (logits)",
            ylabel="and beyond",
            title="all heads",
        )
        for axis in (scatter.xaxis, scatter.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_locator(NullLocator())
    if keys:
        _legend(figure, panels[0][0])
    return figure


def plot_passkeys(grids: Mapping[Key, Passkeys], models: Sequence[str], methods: Sequence[str]) -> Figure:
    """Share of passkeys given right by length and depth, and in each cell how many of how many: a panel a method."""
    shown = [(model, method) for model in models for method in methods if (model, method) in grids]
    if not shown:
        return say("no passkeys were asked for")
    columns = min(len(shown), 4)
    rows = -(-len(shown) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(WIDTH, 1.9 * rows + 0.3), squeeze=False)
    for panel in panels.flat[len(shown) :]:
        panel.set_axis_off()
    for panel, (model, method) in zip(panels.flat, shown, strict=False):
        own = grids[model, method]
        image = panel.imshow(own.right / own.asked, vmin=0, vmax=1, cmap="cividis", aspect="auto")
        for (row, column), asked in np.ndenumerate(own.asked):
            right = own.right[row, column]
            colour = "black" if right > asked / 2 else "white"
            panel.text(column, row, f"{right} of {asked}", ha="center", va="center", color=colour, fontsize=7)
        panel.set_xticks(range(len(own.lengths)), [f"{length:,}" for length in own.lengths])
        panel.set_yticks(range(len(own.depths)), [f"{depth:g}" for depth in own.depths])
        panel.set(xlabel="length (tokens)", ylabel="depth", title=f"{model}\n{method}")
    figure.colorbar(image, ax=panels, label="share right", pad=0.01)
    return figure


def plot_costs(rows: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> Figure:
    """Time and memory of a sequence against length, by method; rows: those of length_costs.csv."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, panels = _panels(models, 2)
    for pair, model in zip(panels, models, strict=True):
        for method in methods:
            own = [row for row in rows if (row["model"], row["method"]) == (model, method)]
            length = np.array([row["length"] for row in own])
            for panel, name in zip(pair, ("seconds", "memory_mb"), strict=True):
                _draw(panel, method, length, np.array([row[name] for row in own]))
        for panel, label in zip(pair, ("seconds", "peak memory (MiB)"), strict=True):
            panel.set(xlabel="length (tokens)", ylabel=label, title=model)
            panel.set_ylim(bottom=0)
            panel.set_xlim(left=0)
    _legend(figure, panels[0][0])
    return figure


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
