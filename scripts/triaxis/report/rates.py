"""What the work of a rule takes, by what it took in a finished run."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triaxis.base.config import resolve
from triaxis.base.errors import UserError
from triaxis.report.estimate import total_work
from triaxis.report.sizes import Size, sizes_of

# Seconds that a job takes before it works: a process, and what it imports. Jobs that took little more say nothing of
# the time of their work.
START, WORKED = 3.0, 5.0


def finished_rates(folder: Path) -> dict[str, float]:
    """The rates of the run that is finished in a folder, from its manifest and logs; none if there is none, or one of
    an earlier version, or of models that cannot be had any more."""
    manifest = folder / "results/manifest.json"
    if not manifest.is_file():
        return {}
    try:
        config = resolve(json.loads(manifest.read_text())["config"])
        return rates_of(_seconds(folder / "logs"), config, sizes_of(config))
    except UserError:
        return {}


def _seconds(logs: Path) -> dict[str, list[float]]:
    """Rule -> seconds of each of its jobs, from Snakemake's benchmark files, logs/RULE.tsv or logs/RULE/JOB.tsv."""
    seconds = defaultdict(list)
    for file in sorted(logs.rglob("*.tsv")):
        rule = file.relative_to(logs).parts[0].removesuffix(".tsv")
        seconds[rule].append(float(file.read_text().splitlines()[-1].split("\t")[0]))
    return seconds


def rates_of(
    seconds: Mapping[str, Sequence[float]], config: Mapping[str, Any], sizes: Mapping[str, Size]
) -> dict[str, float]:
    """Rule -> seconds by the unit of its work, its starts apart, or by the job, in a finished run.

    seconds: rule -> those of its jobs. Rules whose jobs hardly worked have no rate by their work.
    """
    work = total_work(config, sizes)
    rates = {}
    for rule, own in seconds.items():
        mean = sum(own) / len(own)
        if not work.get(rule):
            rates[rule] = mean
        elif mean >= WORKED:
            rates[rule] = (mean - START) * len(own) / work[rule]
    return rates


def seconds_of(rule: str, jobs: int, work: Mapping[str, float], rates: Mapping[str, float]) -> float | None:
    """How long the jobs of a rule take, one after another; None if nothing is known of them. work: rule -> that of the
    run."""
    if rule not in rates:
        return None
    return START * jobs + rates[rule] * work[rule] if work.get(rule) else rates[rule] * jobs
