"""What a rule asks for holds what its stage takes. (The linear stages are measured by `make bench`.)"""

import re
import tracemalloc
from pathlib import Path

import numpy as np

from triaxis.logits.logits import CausalCells

RULES = Path(__file__).resolve().parents[3] / "rules"
LENGTH = 256


def asked(rule: str) -> int:
    """The bytes a cell that a rule asks for."""
    text = "".join(path.read_text() for path in RULES.glob("*.smk")).split(f"rule {rule}:")[1].split("rule ")[0]
    return int(np.prod([int(number) for number in re.search(r"by_length\(\d+, ([\d *]+)[,)]", text)[1].split("*")]))


def test_a_layer_of_32_heads_is_written_within_what_its_rule_asks_for():
    values = np.zeros((32, LENGTH, LENGTH), np.float32)
    tracemalloc.start()
    try:
        CausalCells(list(range(32)), np.arange(LENGTH)).table(0, 0, values)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak + values.nbytes < asked("dump_logits") * LENGTH**2
