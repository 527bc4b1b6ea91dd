"""Benchmarks: ratios, each with its peer measured in the same run.

`make bench` runs this in the project's folder after `make run`, whose files are the data.
"""

import os
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "scripts"))

from benchmarks import extraction, fitting, keeping, length, logits, mechanism, rates, summing  # noqa: E402

HEADER = """# Benchmarks

Written by `make bench` on {machine}. Every line is a ratio or a rate with its peer measured in the same
run (the median of interleaved rounds); times of different runs are not compared.

| what | measured | asked for |
|---|---|---|
"""


def machine() -> str:
    """The processor's name and cores, as this process may use them."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    return f"{name}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"


def main() -> None:
    rows: list[tuple[str, str, str]] = []
    # Each in a process of its own: the threads and the memory that one leaves behind change the next one's ratios.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
        for benchmark in (extraction, logits, summing, keeping, fitting, mechanism, length):
            print(f"{benchmark.__name__} ...", flush=True)
            rows += fresh.submit(benchmark.measure).result()
            for row in rows[-3:]:
                print("  ", *row, sep=" | ", flush=True)
    table = "".join(f"| {what} | {measured} | {asked} |\n" for what, measured, asked in rows)
    (PROJECT / "benchmarks" / "README.md").write_text(HEADER.format(machine=machine()) + table)
    rates.write(machine())


if __name__ == "__main__":
    main()
