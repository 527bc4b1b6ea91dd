"""The figures of length: what a model does past its training length, method by method."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import NDArray

from triaxis.base import tables
from triaxis.length import summary
from triaxis.length.components import Continued, continuation
from triaxis.length.summary import Clouds
from triaxis.report.style import BLUE, GREEN, GREY, ORANGE, VERMILION, WIDTH

Array = NDArray[np.floating]

# One colour and mark a method, in all figures.
LOOK = {
    "plain": (VERMILION, "o"),
    "lm_infinite": (BLUE, "s"),
    "inf_llm": (GREEN, "^"),
    "inf_llm_published": ("#CC79A7", "v"),
    "yarn": (ORANGE, "D"),
    "linear": ("#56B4E9", "P"),
    "dynamic": ("black", "X"),
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
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=round(4 * figure.get_figwidth() / WIDTH))


def plot_loss(
    curves: Mapping[Key, tuple[Array, Array]],
    models: Sequence[str],
    methods: Sequence[str],
    training: Mapping[str, tuple[int, str]],
) -> Figure:
    """Loss against position by method at the longest length, the training length marked."""
    figure, panels = _panels(models)
    for (panel,), model in zip(panels, models, strict=True):
        for method in methods:
            position, loss = curves[model, method]
            colour, mark = LOOK[method]
            panel.plot(position, loss, marker=mark, color=colour, markersize=2.5, label=method)
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
    curves: Mapping[Key, tuple[Array, Array, Array, Array]],
    models: Sequence[str],
    methods: Sequence[str],
    training: Mapping[str, tuple[int, str]],
) -> Figure:
    """Outlier share, outside the reference's 99 % region, against length: mean over heads, band of quartiles."""
    figure, panels = _panels(models)
    for (panel,), model in zip(panels, models, strict=True):
        for method in methods:
            length, mean, low, high = curves[model, method]
            colour, mark = LOOK[method]
            panel.plot(length, 100 * mean, marker=mark, color=colour, markersize=3.5, label=method)
            panel.fill_between(length, 100 * low, 100 * high, color=colour, alpha=0.15, linewidth=0)
        panel.axhline(1, color=GREY, linewidth=0.6, linestyle=":")
        _mark_training(panel, *training[model])
        _lengths_axis(panel, length)
        panel.set(ylabel="outputs outside (%)", title=model)
        panel.set_ylim(bottom=0)
    _legend(figure, panels[0][0])
    return figure


def plot_attention(
    rows: Sequence[Mapping[str, Any]],
    models: Sequence[str],
    methods: Sequence[str],
    training: Mapping[str, tuple[int, str]],
) -> Figure:
    """Entropy of attention, and mean and spread of the logits, against length; rows: those of length.csv."""
    names = {
        "entropy": "attention entropy (nats)",
        "logit_mean": "mean logit of visible keys",
        "logit_sd": "logits' standard deviation",
    }
    figure, panels = _panels(models, len(names), 2.2)
    for row, model in zip(panels, models, strict=True):
        for panel, (name, label) in zip(row, names.items(), strict=True):
            for method in methods:
                own = [each for each in rows if (each["model"], each["method"]) == (model, method)]
                measured = [each for each in own if np.isfinite(each[name])]
                length = np.array([each["length"] for each in measured])
                colour, mark = LOOK[method]
                panel.plot(
                    length, [each[name] for each in measured], marker=mark, color=colour, markersize=3.5, label=method
                )
            _mark_training(panel, *training[model])
            _lengths_axis(panel, length)
            panel.set_ylabel(label)
        row[0].set_title(model)
    _legend(figure, panels[0][0])
    return figure


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
    if keys:
        _legend(figure, panels[0][0])
    return figure


def plot_passkeys(
    grids: Mapping[Key, tuple[Sequence[int], Sequence[float], Array]], models: Sequence[str], methods: Sequence[str]
) -> Figure:
    """Share of passkeys given right by length and depth: a column a method."""
    figure, panels = plt.subplots(
        len(models), len(methods), figsize=(WIDTH, 1.7 * len(models) + 0.4), squeeze=False, sharey="row"
    )
    image = None
    for row, model in zip(panels, models, strict=True):
        for panel, method in zip(row, methods, strict=True):
            if (model, method) not in grids:
                panel.set_axis_off()
                continue
            lengths, depths, share = grids[model, method]
            image = panel.imshow(share, vmin=0, vmax=1, cmap="cividis", aspect="auto")
            panel.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths])
            panel.set_yticks(range(len(depths)), [f"{depth:g}" for depth in depths])
            panel.set(xlabel="length (tokens)", title=method)
        row[0].set_ylabel(f"{model}\ndepth")
    if image is None:
        figure.text(0.5, 0.5, "no passkeys were asked for", ha="center")
    else:
        figure.colorbar(image, ax=panels, label="share right", pad=0.01)
    return figure


def plot_costs(rows: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> Figure:
    """Time and memory against length, by method; rows: those of length_costs.csv."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, panels = _panels(models, 2)
    for (time, memory), model in zip(panels, models, strict=True):
        for method in methods:
            own = [row for row in rows if (row["model"], row["method"]) == (model, method)]
            length = [row["length"] for row in own]
            colour, mark = LOOK[method]
            for panel, name in ((time, "seconds"), (memory, "memory_mb")):
                panel.plot(length, [row[name] for row in own], marker=mark, color=colour, markersize=3.5, label=method)
        for panel, label in ((time, "seconds"), (memory, "peak memory (MiB)")):
            panel.set(xlabel="length (tokens)", ylabel=label, title=model)
            panel.set_ylim(bottom=0)
            panel.set_xlim(left=0)
    _legend(figure, panels[0][0])
    return figure


def _training(files: Sequence[str]) -> dict[str, tuple[int, str]]:
    """model -> its training length and what that is, from files of length/."""
    return {summary.model_of(file): summary.training_of(file) for file in files}


def length_loss(losses: Sequence[str], models: Sequence[str], methods: Sequence[str]) -> Figure:
    """Loss against position, from length/losses/."""
    return plot_loss(summary.loss_curves(losses), models, methods, _training(losses))


def length_clouds(clouds: Sequence[str], distances: Sequence[str], methods: Sequence[str]) -> Figure:
    """Attention outputs of one head a model, from length/clouds/ and length/distances/."""
    typical = {
        summary.model_of(cloud): summary.typical_clouds(cloud, distance)
        for cloud, distance in zip(clouds, distances, strict=True)
    }
    return plot_clouds(typical, methods, _training(clouds))


def length_outliers(distances: Sequence[str], models: Sequence[str], methods: Sequence[str]) -> Figure:
    """Share of attention outputs outside the reference's region against length, from length/distances/."""
    return plot_outliers(summary.outlier_curves(distances), models, methods, _training(distances))


def length_attention(table: str, models: Sequence[str], methods: Sequence[str]) -> Figure:
    """Entropy of attention and the logits' mean and spread against length, from length.csv."""
    rows = tables.from_csv(table)
    training = {row["model"]: (row["training_length"], row["training_length_is"]) for row in rows}
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
