"""Sizes of a model from its configuration, and times from work."""

from pathlib import Path

import pytest
import yaml
from transformers import GPTNeoXConfig, LlamaConfig, LlamaForCausalLM

from triaxis.base.config import resolve
from triaxis.report import estimate

CONFIG = resolve(yaml.safe_load((Path(__file__).resolve().parents[3] / "config.yaml").read_text()))
LLAMA = LlamaConfig(
    vocab_size=17,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)


def test_sizes_are_those_of_the_model():
    weights = sum(weight.numel() for weight in LlamaForCausalLM(LLAMA).parameters())
    assert estimate.size_of(LLAMA) == estimate.Size(2, 4, 2, 8, 4, 32, weights)


def test_rope_may_turn_a_part_of_the_dimensions():
    config = GPTNeoXConfig(
        vocab_size=17, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    assert estimate.size_of(config).pairs == 4 and estimate.size_of(config).head_dim == 32


def test_logits_are_all_a_sample_or_none():
    size = estimate.Size(2, 4, 2, 8, 4, 32, 1000)

    def rows(keep: str) -> int | None:
        config = CONFIG | {"logits": CONFIG["logits"] | {"keep": keep}}
        return estimate.stages_of(config, size).get("logits", (None, 0))[0]

    cells = 256 * 257 // 2
    assert rows("all") == 8 * 2 * 4 * cells and rows("sample") == 2 * 4 * cells and rows("none") is None


def test_a_finished_run_gives_back_its_own_times():
    sizes = {"mine": estimate.Size(2, 4, 2, 8, 4, 32, 1000), "mine-random": estimate.Size(2, 4, 2, 8, 4, 32, 1000)}
    seconds = {"fit_axes": [30.0, 50.0], "plot_heads": [3.0], "sum_logits": [1.0, 1.0]}
    rates, total = estimate.rates_of(seconds, CONFIG, sizes), estimate.total_work(CONFIG, sizes)
    assert estimate.seconds_of("fit_axes", 2, total, rates) == pytest.approx(80)
    assert estimate.seconds_of("plot_heads", 4, total, rates) == pytest.approx(12)
    # Jobs of a second have said nothing of their work.
    assert estimate.seconds_of("sum_logits", 2, total, rates) is None
    more = estimate.total_work(CONFIG | {"sequences": CONFIG["sequences"] | {"count": 80}}, sizes)
    assert estimate.seconds_of("fit_axes", 20, more, rates) == pytest.approx(800)
    less = {rule: work / 1e6 for rule, work in total.items()}
    assert estimate.seconds_of("fit_axes", 2, less, rates) == 2 * estimate.START
