"""Logits captured at the softmax, against their definitions: products of queries and keys taken by hooks, and the
biases of ALiBi."""

import numpy as np
import pytest
import torch

from triaxis.attention.at_softmax import capture_logits
from triaxis.attention.capture import attending
from triaxis.attention.layout import probe_layouts
from triaxis.base.errors import UserError
from triaxis.fit.axes import Sums, designs, fit_axes, fix_gauge
from triaxis.fit.captured_sums import over_axes
from triaxis.fit.combinations import FULL
from triaxis.fit.groups import draw_groups
from unit import families
from unit.families import UNROTATED

LENGTH = 12
FAMILIES = {family: settings for family, settings, _ in UNROTATED.values()}


def build(family: str, **settings):
    """With eager attention, as the pipeline opens a model whose logits it captures."""
    return families.build(family, "eager", **(FAMILIES.get(family, {}) | settings))


def some_tokens(length: int = LENGTH, sequences: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(3, 128, (sequences, length)).astype(np.int32)


def captured(model, tokens: np.ndarray, layers=None, batch_tokens: int = 24) -> dict[tuple[int, int], np.ndarray]:
    found = {}

    def keep(sequence, layer, matrices):
        assert (sequence, layer) not in found
        found[sequence, layer] = matrices.numpy().copy()

    capture_logits(model, tokens, range(10, 10 + len(tokens)), layers, batch_tokens=batch_tokens, keep=keep)
    return found


@torch.inference_mode()
def attentions(model, tokens: np.ndarray) -> tuple[torch.Tensor, ...]:
    return model(input_ids=torch.from_numpy(tokens).long(), output_attentions=True, use_cache=False).attentions


@pytest.mark.parametrize("family", FAMILIES)
def test_their_softmax_is_the_models_own_attention(family):
    """What the softmax receives is known but for a constant a query: its exponentials are the model's weights."""
    model, tokens = build(family), some_tokens()
    found, weights = captured(model, tokens), attentions(model, tokens)
    assert set(found) == {(sequence, layer) for sequence in (10, 11, 12) for layer in (0, 1)}
    for (sequence, layer), matrices in found.items():
        assert matrices.shape == (4, LENGTH, LENGTH)
        assert np.tril(matrices).std() > 0.05
        causal = np.where(np.tril(np.ones((LENGTH, LENGTH), bool)), matrices, -np.inf)
        own = torch.from_numpy(causal).softmax(-1)
        torch.testing.assert_close(own, weights[layer][sequence - 10], rtol=1e-4, atol=1e-6)


@torch.inference_mode()
def test_gpt2s_are_products_of_its_queries_and_keys():
    model, tokens, seen = build("gpt2"), some_tokens(), {}
    found = captured(model, tokens)
    for layer, block in enumerate(model.transformer.h):
        block.attn.c_attn.register_forward_hook(lambda _m, _i, out, layer=layer: seen.update({layer: out}))
    model(input_ids=torch.from_numpy(tokens).long())
    for layer, out in seen.items():
        query, key, _ = (x.unflatten(-1, (4, 16)).transpose(1, 2).double() for x in out.split(64, dim=-1))
        expected = (query @ key.mT / 4).tril().numpy()
        for row in range(3):
            np.testing.assert_allclose(np.tril(found[10 + row, layer]), expected[row], rtol=0, atol=2e-5)


def test_a_rope_models_are_those_that_capture_rebuilds():
    """The two routes meet where both can go: the softmax's and the attention function's."""
    model = build("llama")
    tokens, rebuilt = some_tokens(sequences=1), {}

    def attend(call):
        rebuilt[call.layer] = call.logits()[0].numpy()
        return call.plain()

    found = captured(model, tokens)
    with torch.inference_mode(), attending(model, probe_layouts(model), attend):
        model.base_model(input_ids=torch.from_numpy(tokens).long(), use_cache=False)
    for layer, expected in rebuilt.items():
        np.testing.assert_allclose(np.tril(found[10, layer]), np.tril(expected), rtol=0, atol=1e-5)


def test_the_fit_finds_alibis_slope():
    """With keys and queries silenced, a BLOOM's logits are its biases: the fit is exact and a_d falls by the slope."""
    model = build("bloom")
    with torch.no_grad():
        for block in model.transformer.h:
            block.self_attention.query_key_value.weight.zero_()
            block.self_attention.query_key_value.bias.zero_()
    tokens = some_tokens(18, 1)
    matrices = torch.from_numpy(captured(model, tokens)[10, 0]).double().tril()
    whole, seen = designs(18, 0)

    def sums(cells):
        return Sums(over_axes(cells)[:, [0, 2, 1]], (cells**2).sum((1, 2)))

    heldout = torch.from_numpy(draw_groups(18, 0).hold_out(*np.ogrid[:18, :18]))
    fit = fit_axes(sums(matrices), sums(matrices * heldout), whole, seen, FULL)
    np.testing.assert_allclose(fit.r, 1, atol=1e-9)
    distance = fix_gauge(fit.coefficients, whole.counts)[:, 0]
    slopes = [2.0 ** (-2 * (head + 1)) for head in range(4)]  # Press et al. 2022, for four heads
    np.testing.assert_allclose(np.diff(distance, axis=1), -np.repeat(slopes, 17).reshape(4, 17), atol=1e-9)


def test_layers_are_chosen():
    assert set(captured(build("gpt2"), some_tokens(), layers=[1])) == {(10, 1), (11, 1), (12, 1)}


def test_the_batch_does_not_matter():
    model, tokens = build("gpt2"), some_tokens()
    one, three = captured(model, tokens, batch_tokens=1), captured(model, tokens, batch_tokens=36)
    for place, matrices in one.items():
        np.testing.assert_allclose(np.tril(three[place]), np.tril(matrices), rtol=0, atol=1e-5)


def refusal(model, tokens=None, **options) -> str:
    with pytest.raises(UserError) as caught:
        captured(model, some_tokens() if tokens is None else tokens, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_captured_is_refused_by_name():
    assert "[2] are out of range: the model has layers 0 to 1" in refusal(build("gpt2"), layers=[0, 2])
    window = build("gpt_neo", num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=8)
    assert "layer 1 of a model of type 'gpt_neo' masks keys" in refusal(window)
    assert captured(window, some_tokens(8))
    capped = build("gemma2", head_dim=16)
    assert "type 'gemma2' caps its logits" in refusal(capped)
    sinks = build("gpt_oss", head_dim=16, num_local_experts=2, num_experts_per_tok=1, num_key_value_heads=2)
    assert "type 'gpt_oss' shows 0 softmaxes over its keys for 2 layers" in refusal(sinks)


@pytest.mark.parametrize("family", ["gpt2", "opt", "gpt_bigcode"])
def test_more_tokens_than_learned_positions_are_refused(family):
    assert f"type '{family}' has learned 64 positions, and sequences.length is 65" in refusal(
        build(family), some_tokens(65)
    )


def test_positions_that_are_not_learned_have_no_end():
    assert captured(build("bloom"), some_tokens(70, 1))


def test_logits_that_are_not_finite_are_refused():
    model = build("gpt2")
    with torch.no_grad():
        model.transformer.h[1].attn.c_attn.bias[0] = float("nan")
    assert "layer 1: logits are NaN or infinite" in refusal(model)
