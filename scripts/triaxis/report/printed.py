"""What `make run` prints at its end: tables of at most 100 columns, and a line for each experiment."""

from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from triaxis.base.names import control_of, is_control, series_of
from triaxis.heads.classes import CLASSES, ROLES
from triaxis.mechanism.names import SHARES
from triaxis.training.summary import LOSS, settling

Row = Mapping[str, Any]

WIDTH = 100
NAME = 30  # columns of a model's name
# The fraction of moved words at which tolerance and tasks are shown: of those that were run, the nearest to it.
SHOWN_FRACTION = 0.1

MEANING = "r: the correlation of the logits W_ij with their best fit a_(i-j) + b_i + c_j, a head at a time."
SHARES_MEANING = (
    "r_additive: the same of a query's logits with their best f(q, d) + g(q, k); interaction: the rest.",
    "Independence of keys: of what distance does, the share that is the same for every key; of distance:",
    "of what the key does, the share that is the same at every distance. Scrambled: the null that keeps",
    "norms. On short texts r_additive alone does not tell them apart.",
)


def query(database: str) -> str:
    """A command that asks a run's database; the environment has DuckDB for Python, not its command line."""
    return f""".venv/bin/python -c "import duckdb; duckdb.connect('{database}').sql('FROM fits').show()\""""


def number(value: float, digits: int = 3) -> str:
    """A number, or a dash for NaN."""
    return "-" if value != value else f"{value:.{digits}f}"


def percent(fraction: float) -> str:
    return f"{100 * fraction:g} %"


def short(name: str, width: int = NAME) -> str:
    """A name cut in its middle to `width` characters, so that both "family" and "-random" stay."""
    if len(name) <= width:
        return name
    tail = width // 2
    return f"{name[: width - tail - 1]}…{name[-tail:]}"


def with_interval(row: Row, name: str) -> str:
    """A number and its 95 % interval, if it has one."""
    low, high = (number(row[f"{name}_{end}"]) for end in ("low", "high"))
    return number(row[name]) if "-" in (low, high) else f"{number(row[name])} [{low}, {high}]"


def headline_lines(rows: Sequence[Row], sequences: int, length: int) -> list[str]:
    """The tables of headline.csv's rows, and what their columns mean."""
    cells = [["model", "mean r [95 %]", "adjusted R²", "held-out r", "random r"]]
    for row in rows:
        cells.append([short(row["model"]), with_interval(row, "mean_r")])
        cells[-1] += [number(row[name]) for name in ("adjusted_r2", "heldout_r", "random_r")]
    null = sorted({number(row["null_r"]) for row in rows})
    title = f"{sequences:,} sequences of {length:,} tokens; noise alone gives r {' or '.join(null)}."
    constant = sum(int(row["constant_matrices"]) for row in rows)
    left_out = [f"{constant:,} constant logit matrices have no r and are left out."] if constant else []
    return [title, "", *aligned(cells, 2), "", MEANING, *left_out, *additivity_lines(rows)]


def additivity_lines(rows: Sequence[Row]) -> list[str]:
    """How additive the logits are, beside the null of scrambled key phases; nothing if it was not measured."""
    if all(row["mechanism"] == "not measured" for row in rows):
        return []
    shares = {**SHARES, "interaction": "interaction"}
    cells = [["model", *shares.values()]]
    for row in rows:
        none = row["mechanism"] == "not applicable"
        cells.append([short(row["model"]), *("n/a" if none else number(row[name]) for name in shares)])
        if row["mechanism"] == "measured" and not is_control(row["model"]):
            cells.append(["  key phases scrambled", *(number(row[f"scrambled_{name}"]) for name in shares)])
    return ["", *aligned(cells, 1), "", *SHARES_MEANING]


def aligned(cells: Sequence[Sequence[str]], left: int) -> list[str]:
    """Lines of a table; the first `left` columns are flush left."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def experiment_lines(tables: Mapping[str, Sequence[Row]]) -> list[str]:
    """A line or two for each experiment and trained model; tables: experiment -> the rows of its table, of those that
    the run made."""
    lines: list[str] = []
    for experiment, facts in FACTS.items():
        for model, text in facts(tables[experiment]) if experiment in tables else []:
            lines += wrap(f"{experiment:<9}  {short(model)}: {text}", WIDTH, subsequent_indent=" " * 11)
    return lines


def head_facts(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """model -> how many of its heads are of each class, and have each role."""
    found = []
    for model in trained(rows):
        own = [row for row in rows if row["model"] == model]
        classes, roles = (Counter(row[name] for row in own) for name in ("class", "role"))
        kinds = ", ".join(f"{classes[name]:,} {name}" for name in CLASSES)
        looking = ", ".join(f"{roles[name]:,} {name.replace('_', '-')}" for name in ROLES)
        found.append((model, f"{kinds}; looking at one token: {looking}"))
    return found


def surgery_facts(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """model -> loss with its own logits and with the best additive ones in all layers, beside controls and a half of
    the sum alone."""
    loss = {(row["model"], row["variant"]): number(row["loss"]) for row in rows}
    chosen = {row["model"]: row["variant"] for row in rows if row["chosen"]}
    return [
        (
            model,
            f"{loss[model, 'exact']} nats a token as it is, {loss[model, chosen[model]]} on additive logits, "
            f"{loss[model, 'noise']} with noise of their error's size, {loss[model, 'window-16']} in a window of 16; "
            f"f alone {loss[model, 'f']}, g alone {loss[model, 'g']}",
        )
        for model in trained(rows)
    ]


def tolerance_facts(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """model -> perplexity at one fraction of moved words, relative to none moved."""
    fraction = nearest([row["fraction"] for row in rows])
    ratio = {(row["model"], row["perturbation"]): row["ratio"] for row in rows if row["fraction"] == fraction}
    return [
        (
            model,
            f"perplexity with {percent(fraction)} of the words moved, relative: {_by_kind(ratio, model)}"
            + _beside(ratio, model),
        )
        for model in trained(rows)
    ]


def task_facts(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """model -> accuracy of each task, nothing moved and at one fraction of moved words."""
    fraction = nearest([row["fraction"] for row in rows if not is_control(row["model"])])
    found = []
    for model in trained(rows):
        for task in dict.fromkeys(row["task"] for row in rows if row["model"] == model):
            own = [row for row in rows if (row["model"], row["task"]) == (model, task)]
            plain = next(row["accuracy"] for row in own if row["fraction"] == 0)
            moved = {(model, row["perturbation"]): row["accuracy"] for row in own if row["fraction"] == fraction}
            guesses = [row["accuracy"] for row in rows if (row["model"], row["task"]) == (control_of(model), task)]
            text = f"{task}, accuracy {number(plain)}; {percent(fraction)} of the words moved: {_by_kind(moved, model)}"
            found.append((model, text + (f"; random weights {number(guesses[0])}" if guesses else "")))
    return found


def length_lines(rows: Sequence[Row]) -> list[str]:
    """A table a model: nats a token of the tokens that each length adds, by method."""
    lines: list[str] = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        lengths = sorted({row["length"] for row in own})
        loss = {(row["method"], row["length"]): number(row["loss"]) for row in own}
        cells = [["", *(f"{length:,}" for length in lengths)]]
        for method in dict.fromkeys(row["method"] for row in own):
            cells.append([method, *(loss.get((method, length), "-") for length in lengths)])
        title = f"length: {short(model)}, trained on {own[0]['training_length']:,} tokens; nats a token, by tokens read"
        lines += ["", title, *aligned(cells, 1)]
    return lines


# The measures of training.csv that the summary names, and how.
LEARNED = {
    "r distance+query+key": "r",
    "r_additive": "r_additive",
    "key_independence": "key independence",
    "distance_independence": "distance independence",
    "slow_norm_share": "slow pairs' norm",
    "key_constancy": "key constancy",
    "previous_token_attention": "previous-token attention",
    "first_token_attention": "first-token attention",
}


# What the table by step has of them, in few characters.
BY_STEP = {
    "r distance+query+key": "r",
    "r_additive": "r_add",
    "key_independence": "key",
    "distance_independence": "distance",
    "slow_norm_share": "slow",
    "previous_token_attention": "previous",
    "first_token_attention": "first",
}
BY_STEP_MEANING = "r_add: r_additive; key, distance: their independence; slow: slow pairs' norm; then attention."


def training_facts(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """series -> its loss, when that settles, and which measures settle before it, with it and after it."""
    by_series: dict[str, dict[str, Row]] = {}
    for row in settling(rows):
        by_series.setdefault(str(series_of(row["model"])), {})[row["measure"]] = row
    found = []
    for series, own in by_series.items():
        loss = own[LOSS]
        step = loss["settled"]
        text = f"loss {number(loss['first_value'])} to {number(loss['last_value'])} nats a token, "
        text += "not settled by the end" if step != step else f"settled by step {step:,.0f}"
        for when in ("before the loss", "with the loss", "after the loss", "not by the end"):
            names = [
                f"{name}{'' if own[key]['settled'] != own[key]['settled'] else format(own[key]['settled'], ' ,.0f')}"
                for key, name in LEARNED.items()
                if key in own and own[key]["when"] == when
            ]
            text += f"; {when}: {', '.join(names)}" if names else ""
        found.append((series, text))
    return found


def step_lines(rows: Sequence[Row]) -> list[str]:
    """A table: what each checkpoint has learned, means over its layers and heads."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["layer"] is None or row["layer"] != row["layer"]:
            found.setdefault(row["model"], {})[row["measure"]] = number(row["value"])
    columns = {LOSS: "loss", **BY_STEP}
    cells = [["checkpoint", *columns.values()]]
    cells += [[short(model), *(own.get(measure, "-") for measure in columns)] for model, own in found.items()]
    return ["", *aligned(cells, 1), "", BY_STEP_MEANING]


def trained(rows: Sequence[Row]) -> list[str]:
    """The models of a table that are no random control, in its order."""
    return [model for model in dict.fromkeys(row["model"] for row in rows) if not is_control(model)]


def nearest(fractions: Sequence[float]) -> float:
    """The fraction nearest to SHOWN_FRACTION at which anything moves."""
    moving = [fraction for fraction in fractions if fraction] or fractions
    return min(moving, key=lambda fraction: (abs(fraction - SHOWN_FRACTION), fraction))


def _by_kind(values: Mapping[tuple[str, str], float], model: str) -> str:
    return ", ".join(f"{perturbation} {number(value)}" for (own, perturbation), value in values.items() if own == model)


def _beside(values: Mapping[tuple[str, str], float], model: str) -> str:
    random = _by_kind(values, control_of(model))
    return f"; random weights: {random}" if random else ""


FACTS = {
    "heads": head_facts,
    "surgery": surgery_facts,
    "tolerance": tolerance_facts,
    "tasks": task_facts,
    "training": training_facts,
}

# Experiment -> its table, under the lines of all.
TABLES = {"training": step_lines, "length": length_lines}
