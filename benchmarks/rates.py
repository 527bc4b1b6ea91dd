"""What jobs of the default run took on this machine, for `make estimate`: benchmarks/rates.json.

Rules that the run does not have keep the rates that stand there.
"""

import json
from pathlib import Path

from triaxis.report.rates import finished_rates

FILE = Path(__file__).with_name("rates.json")


def write(machine: str) -> None:
    """Write the rates of the run that is finished in this folder, to three digits."""
    own = {rule: float(f"{rate:.3g}") for rule, rate in finished_rates(Path()).items()}
    seconds = json.loads(FILE.read_text())["seconds"] | own
    FILE.write_text(json.dumps({"machine": machine, "seconds": dict(sorted(seconds.items()))}, indent=1) + "\n")
