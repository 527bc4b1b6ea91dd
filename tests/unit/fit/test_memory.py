"""What the rules ask for holds what their stages take, which follows the square of the length."""

import re
import tracemalloc
from pathlib import Path

import numpy as np

from triaxis.fit.axes import COMBINATIONS, Design, Sums, designs, fit_axes
from triaxis.logits.logits import CausalCells
from triaxis.mechanism.dummy_distance import fit_layer
from unit.vectors import make_features, make_rotary

RULES = Path(__file__).resolve().parents[3] / "rules"
LENGTH = 256


def asked(rule: str) -> int:
    """The bytes a cell that a rule asks for."""
    text = "".join(path.read_text() for path in RULES.glob("*.smk")).split(f"rule {rule}:")[1].split("rule ")[0]
    return int(np.prod([int(number) for number in re.search(r"by_length\(\d+, ([\d *]+)\)", text)[1].split("*")]))


def peak(stage) -> float:
    """Bytes a cell that `stage` takes at its peak, of those that numpy allocates."""
    tracemalloc.start()
    try:
        stage()
        return tracemalloc.get_traced_memory()[1] / LENGTH**2
    finally:
        tracemalloc.stop()


def test_the_fit_takes_no_more_than_its_rule_asks_for_and_not_much_less():
    def fit():
        whole, half = designs(LENGTH, 0)
        sums = Sums(np.ones((1, 3, LENGTH)), np.full(1, 1e6))
        return [fit_axes(sums, sums, whole, half, axes) for axes in COMBINATIONS]

    assert 0.8 < peak(fit) / asked("fit_axes") < 1


def test_dummy_distances_take_no_more_than_their_rule_asks_for_and_not_much_less():
    features = make_features(make_rotary(), length=LENGTH)
    distances = np.arange(0, LENGTH, 16)

    def fit():
        return fit_layer(features, make_rotary(), distances, Design(np.tril(np.ones((LENGTH, LENGTH), dtype=bool))))

    assert 0.7 < peak(fit) / asked("measure_mechanism") < 1


def test_a_layer_of_32_heads_is_written_within_what_its_rule_asks_for():
    values = np.zeros((32, LENGTH, LENGTH), np.float32)

    def write():
        return CausalCells(list(range(32)), LENGTH).table(0, 0, values)

    assert peak(write) + values.nbytes / LENGTH**2 < asked("dump_logits")
