"""An estimate as `make estimate` prints it: jobs, rows, bytes and hours, a line a rule."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from triaxis.base.names import entry_of
from triaxis.report.estimate import WRITERS, stages_of, total_work
from triaxis.report.rates import seconds_of
from triaxis.report.sizes import Size

# A rule -> those that write the same stages in another way.
OTHERS = {
    "dump_logits": ["capture_logits"],
    "sum_logits": ["sum_captured"],
    "fit_axes": ["fit_features"],
}


@dataclass
class Line:
    """What a rule makes and takes: rows and bytes are None where they are not counted, seconds where nothing is
    known."""

    jobs: int
    seconds: float | None
    rows: int | None = None
    bytes: float | None = None


def lines_of(
    config: Mapping[str, Any], sizes: Mapping[str, Size], jobs: Mapping[str, int], rates: Mapping[str, float]
) -> dict[str, Line]:
    """Rule -> Line, for every rule of a run; sizes: of every measured model; jobs: rule -> how many it has."""
    work = total_work(config, sizes)
    lines = {rule: Line(count, seconds_of(rule, count, work, rates)) for rule, count in jobs.items()}
    for model, size in sizes.items():
        alone = config["models"][entry_of(model)]["capture"] == "logits"
        for stage, (rows, taken) in stages_of(config, size, alone).items():
            line = lines[_writer(stage, jobs)]
            line.rows, line.bytes = (line.rows or 0) + rows, (line.bytes or 0) + taken
    return lines


def _writer(stage: str, jobs: Mapping[str, int]) -> str:
    """The rule of a run that writes a stage."""
    rule = WRITERS[stage]
    return next((own for own in [rule, *OTHERS.get(rule, [])] if own in jobs), rule)


def table(lines: Mapping[str, Line], whose: str) -> str:
    """The lines of rules that write a stage or take a minute or more, the longest first, those of all others in one,
    and what they come to; whose: of what run the rates are."""
    shown = {rule: own for rule, own in lines.items() if own.rows is not None or (own.seconds or 0) >= 60}
    shown = dict(sorted(shown.items(), key=lambda item: -(item[1].seconds or 0)))
    rest = _sum(own for rule, own in lines.items() if rule not in shown)
    told = [f"{'stage, by its rule':24}{'jobs':>8}{'rows':>16}{'MB':>12}{'hours':>10}"]
    told += [_told(rule, own) for rule, own in {**shown, "all others": rest, "together": _sum(lines.values())}.items()]
    unknown = sorted(rule for rule, own in lines.items() if own.seconds is None)
    if unknown:
        told.append(f"Nothing is known of the time of {', '.join(unknown)}: it is not counted.")
    return "\n".join([*told, f"Hours are those of one job after another, at the rates of {whose}."])


def _sum(lines: Iterable[Line]) -> Line:
    """One line of all, whose unknown seconds are none."""
    own = list(lines)
    counted = [line for line in own if line.rows is not None]
    rows, taken = sum(line.rows or 0 for line in counted), sum(line.bytes or 0 for line in counted)
    seconds = sum(line.seconds or 0 for line in own)
    return Line(sum(line.jobs for line in own), seconds, rows if counted else None, taken if counted else None)


def _told(name: str, line: Line) -> str:
    rows = "-" if line.rows is None else f"{line.rows:,}"
    taken = "-" if line.bytes is None else f"{line.bytes / 1e6:,.1f}"
    hours = "-" if line.seconds is None else f"{line.seconds / 3600:.3f}"
    return f"{name:24}{line.jobs:>8,}{rows:>16}{taken:>12}{hours:>10}"
