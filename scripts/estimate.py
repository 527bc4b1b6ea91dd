"""Say what a configuration's run would take: jobs, rows, bytes and hours, from each model's config.json alone.

Jobs are those of a dry run. Rates are those of the run that is finished in this folder, and else those of
benchmarks/rates.json. The argument is the configuration. No rule.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.utils import logging

from triaxis.base.config import over, resolve
from triaxis.base.errors import UserError
from triaxis.report.estimate_table import lines_of, table
from triaxis.report.rates import finished_rates
from triaxis.report.sizes import sizes_of

PROJECT = Path(__file__).resolve().parents[1]


def read(file: str) -> dict[str, Any]:
    """A configuration file, as it stands."""
    try:
        config = yaml.safe_load(Path(file).read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"CONFIG={file} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise UserError(f"CONFIG={file} holds no keys: write at least models or corpus, as config.yaml does")
    return config


def planned(file: str) -> dict[str, int]:
    """Rule -> jobs of a whole run, as Snakemake's dry run counts them."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile"), "--configfile", file]
    command += ["--dry-run", "--quiet", "rules", "--forceall"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        lines = (run.stderr + run.stdout).splitlines()
        raise UserError(next((line.removeprefix("ERROR: ") for line in lines if "ERROR" in line), lines[-1]))
    rows = [line.split() for line in run.stdout.partition("Job stats:")[2].partition("\ntotal ")[0].splitlines()]
    jobs = {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
    return {rule: count for rule, count in jobs.items() if rule != "all"}


# What cannot be had is said in one line, at the end.
logging.set_verbosity_error()
try:
    config = resolve(over(read(sys.argv[1]), read(str(PROJECT / "config.yaml"))))
    sizes, jobs = sizes_of(config), planned(sys.argv[1])
    kept, here = json.loads((PROJECT / "benchmarks/rates.json").read_text()), finished_rates(Path())
    whose = "the run that is finished here" if here else f"benchmarks/rates.json ({kept['machine']})"
    print(table(lines_of(config, sizes, jobs, kept["seconds"] | here), whose))
except UserError as error:
    sys.exit(f"ERROR: {error}")
