"""A model run again with another attention: cached blocks change nothing, and the comparison is its definition."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from triaxis.attention.capture import Call
from triaxis.attention.layout import probe_layouts
from triaxis.attention.rerun import Rerunner, decoder_blocks
from unit.families import SIZES, build

FAMILIES = ("llama", "gpt_neox", "gemma2", "gpt_oss", "smollm3")
SETTINGS = {
    "gpt_oss": {"head_dim": 16, "num_local_experts": 2, "num_experts_per_tok": 1},
    "smollm3": {"no_rope_layers": [1, 0, 1]},
}


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def model_of(family: str):
    return build(family, **{"num_hidden_layers": 3} | SETTINGS.get(family, {}))


def draw() -> np.ndarray:
    return np.random.default_rng(0).integers(3, SIZES["vocab_size"], (2, 20), dtype=np.int32)


def halve(layers: set[int]):
    """An attention with the logits of `layers` halved."""
    return lambda call: call.with_logits(call.logits() / 2) if call.layer in layers else call.plain()


def same(one: list[dict], other: list[dict]) -> None:
    """Up to the order in which a mixture of experts adds up."""
    for left, right in zip(one, other, strict=True):
        assert left == pytest.approx(right, abs=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_are_found_in_every_family(family: str) -> None:
    blocks, index = decoder_blocks(model_of(family))
    assert len(blocks) == 3 and index == {0: 0, 1: 1, 2: 2}


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_blocks_give_what_running_them_gives(family: str) -> None:
    model = model_of(family)
    runner = Rerunner(model, probe_layouts(model), draw())
    for layer in range(3):
        same(runner.run(halve({layer}), layer), runner.run(halve({layer})))
    kept = runner.run(halve({0, 1, 2}), keep="halved")
    same(runner.run(halve({0, 1, 2}), 3, "halved"), kept)
    same(runner.run(halve({0, 1}), 2, "halved"), runner.run(halve({0, 1})))


def test_only_what_comes_after_a_change_is_run() -> None:
    model = model_of("llama")
    runner, seen = Rerunner(model, probe_layouts(model), draw()), []

    def attend(call: Call):
        seen.append(call.layer)
        return call.plain()

    assert runner.run(attend, 2) == runner.plain
    assert seen == [2]


def test_measures_are_their_definition() -> None:
    model, tokens = model_of("llama"), draw()
    runner = Rerunner(model, probe_layouts(model), tokens)
    ids = torch.from_numpy(tokens).long()
    plain = model(input_ids=ids, use_cache=False).logits.double().log_softmax(-1)
    (first, second) = runner.run(halve({0, 1, 2}))
    assert [row["kl"] for row in runner.plain] == pytest.approx([0, 0], abs=1e-9)
    assert first["kl"] > 0 and second["loss"] != runner.plain[1]["loss"]
    for row, own, text in zip(runner.plain, plain, ids, strict=True):
        loss = -own[:-1].gather(-1, text[1:, None]).mean().item()
        assert row["loss"] == pytest.approx(loss, abs=1e-5)
        assert row["perplexity"] == pytest.approx(np.exp(loss), rel=1e-5)


def test_layers_that_turn_nothing_are_none_of_the_rotating() -> None:
    model = model_of("smollm3")
    assert Rerunner(model, probe_layouts(model), draw()).rotating() == [0, 2]


def test_a_model_is_left_as_it_was_found() -> None:
    model = model_of("llama")
    ids = torch.from_numpy(draw()).long()
    before = model(input_ids=ids).logits
    Rerunner(model, probe_layouts(model), draw()).run(halve({1}), 1, keep="halved")
    assert torch.equal(before, model(input_ids=ids).logits)
    assert not any("forward" in vars(module) for module in model.modules())
