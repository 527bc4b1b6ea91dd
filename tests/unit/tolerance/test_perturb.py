"""Perturbed runs against a reference attention written here from the definition, family by family."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from triaxis.attention.capture import Call, attending
from triaxis.attention.layout import measure_rotary, probe_layouts
from triaxis.base.choices import PERTURBATIONS
from triaxis.base.errors import UserError
from triaxis.tolerance import perturb
from triaxis.tolerance.displacement import Displacement, displace
from triaxis.tolerance.perturb import offset_logits, perturbing, scatter
from unit.families import SIZES

LENGTH = 24
GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 20, "sliding_window": 6}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 8,
    "long_factor": [2.0] * 8,
    "original_max_position_embeddings": 16,
}
GPT_OSS = {
    "head_dim": 16,
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
    "sliding_window": 6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
}
# name: (family, its settings, share of a head's dimensions that turn)
FAMILIES = {
    "full": ("llama", {}, 1.0),
    "sliding window": ("mistral", {"sliding_window": 6}, 1.0),
    "mixed, softcap": ("gemma2", GEMMA | {"attn_logit_softcapping": 5.0}, 1.0),
    "mixed, two tables": ("gemma3_text", GEMMA | {"layer_types": ["sliding_attention", "full_attention"]}, 1.0),
    "partial, fused": ("gpt_neox", {"rotary_pct": 0.25}, 0.25),
    "partial": ("phi", {}, 0.5),
    "partial, norms": ("stablelm", {"partial_rotary_factor": 0.5, "qk_layernorm": True}, 0.5),
    "sinks": ("gpt_oss", GPT_OSS, 1.0),
    "a layer without rotation": ("smollm3", {"no_rope_layers": [1, 0]}, 1.0),
}


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def some_tokens() -> torch.Tensor:
    return torch.randint(3, SIZES["vocab_size"], (2, LENGTH), generator=torch.Generator().manual_seed(1))


def displacements(fraction: float) -> list[Displacement]:
    """Two sequences of words of unequal length, swapped within 2, each in its own perturbation."""
    units = np.repeat(np.arange(12), [1, 2, 3, 1, 2, 3, 2, 2, 1, 3, 1, 3])
    return [displace(units, fraction, 2, [9, sequence]) for sequence in range(2)]


def run(model, perturbation: str, fraction: float, tokens: torch.Tensor, layers=None) -> torch.Tensor:
    with perturbing(model, probe_layouts(model), perturbation, lambda ids: displacements(fraction), layers):
        return model(input_ids=tokens, use_cache=False).logits


def rope_type(model, layer: int):
    """The parameters of a layer's table."""
    parameters, kinds = model.config.rope_parameters, getattr(model.config, "layer_types", None)
    return parameters[kinds[layer]] if kinds and kinds[layer] in parameters else parameters


def reference(model, call: Call, distance: np.ndarray, share: float) -> torch.Tensor:
    """Attention (batch, length, heads, head_dim) in float64 from vectors before rotation, when query i and key j are
    distance[batch, i, j] apart; mask, window, softcap and sinks are the model's, of the order of storage."""
    query, key, value = (x.double().numpy() for x in (call.query, call.key, call.value))
    groups, head_dim = query.shape[1] // key.shape[1], query.shape[-1]
    key, value = key.repeat(groups, axis=1), value.repeat(groups, axis=1)
    half = int(head_dim * share) // 2 if len(call.layout.dimension) else 0
    frequency = rope_type(model, call.layer)["rope_theta"] ** (-np.arange(half) / max(half, 1))
    q, k = (x[..., :half] + 1j * x[..., half : 2 * half] for x in (query, key))
    logits = np.einsum("bhid,bhjd->bhij", query[..., 2 * half :], key[..., 2 * half :])
    for m, t in enumerate(frequency):
        pair = q[..., :, None, m] * k[..., None, :, m].conj()
        logits = logits + (pair * np.exp(1j * t * distance)[:, None]).real
    logits = logits * call.scaling
    cap = getattr(model.config, "attn_logit_softcapping", None)
    logits = cap * np.tanh(logits / cap) if cap else logits
    stored = np.subtract.outer(np.arange(LENGTH), np.arange(LENGTH))
    kinds = getattr(model.config, "layer_types", None)
    slides = kinds[call.layer] == "sliding_attention" if kinds else bool(getattr(model.config, "sliding_window", None))
    seen = (stored >= 0) & (stored < model.config.sliding_window if slides else True)
    weights = np.where(seen, np.exp(logits - logits.max(-1, keepdims=True)), 0)
    total = weights.sum(-1, keepdims=True)
    module = model.model.layers[call.layer].self_attn if hasattr(model, "model") else None
    if hasattr(module, "sinks"):
        sink = module.sinks.double().numpy()[None, :, None, None]
        total = total + np.exp(sink - logits.max(-1, keepdims=True))
    return torch.from_numpy(np.einsum("bhij,bhjd->bihd", weights / total, value))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, torch.float32) for name in FAMILIES]
    + [(name, torch.float64) for name in FAMILIES if name != "sinks"],  # whose experts know no float64
)
@pytest.mark.parametrize("perturbation", ["position", "feature"])
def test_position_and_feature_are_the_attention_of_their_definition(build_model, name, perturbation, dtype):
    family, settings, share = FAMILIES[name]
    model, tokens, moved = build_model(family, **settings).to(dtype), some_tokens(), displacements(0.7)
    layouts, seen = probe_layouts(model), []
    distance = np.subtract.outer(np.arange(LENGTH), np.arange(LENGTH))
    offsets = np.stack([each.offsets() for each in moved])
    if perturbation == "position":
        distances = np.stack([np.subtract.outer(each.new_position, each.new_position) for each in moved])
        own = Call.plain
    else:
        distances = distance + offsets
        own = scatter(lambda: torch.from_numpy(offsets))
    assert (distances != distance).any()

    def record(call: Call):
        output = own(call)
        seen.append((call, output[0]))
        return output

    with attending(model, layouts, record):
        if perturbation == "position":
            with perturbing(model, layouts, "position", lambda ids: moved):
                model(input_ids=tokens, use_cache=False)
        else:
            model(input_ids=tokens, use_cache=False)
    assert len(seen) == SIZES["num_hidden_layers"]
    # The models' tables of cos and sin are of single precision whatever their weights are.
    for call, output in seen:
        expected = reference(model, call, distances, share)
        error = (output.double() - expected).abs().max() / expected.abs().max()
        assert error < (2e-6 if dtype == torch.float64 else 2e-5), (call.layer, error)
        # The test could tell: the unperturbed attention is another one, unless no distance enters the layer.
        if len(call.layout.dimension):
            still = reference(model, call, np.stack([distance] * 2), share)
            assert (still - expected).abs().max() > 1e-3 * expected.abs().max()


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_perturbed_is_the_plain_run_bit_for_bit(build_model, name, perturbation):
    family, settings, _ = FAMILIES[name]
    model, tokens = build_model(family, **settings), some_tokens()
    plain = model(input_ids=tokens, use_cache=False).logits
    assert torch.equal(run(model, perturbation, 0, tokens), plain)
    assert not torch.equal(run(model, perturbation, 0.7, tokens), plain)
    assert torch.equal(model(input_ids=tokens, use_cache=False).logits, plain)  # and the model is left as it was


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
@pytest.mark.parametrize("name", FAMILIES)
def test_no_place_sees_its_future(build_model, name, perturbation):
    family, settings, _ = FAMILIES[name]
    model, tokens = build_model(family, **settings), some_tokens()
    for cut in (8, 16):
        changed = tokens.clone()
        # In the text perturbation the future is what comes later in the perturbed text.
        later = torch.stack(
            [
                torch.from_numpy(each.new_position >= cut if perturbation == "text" else np.arange(LENGTH) >= cut)
                for each in displacements(0.7)
            ]
        )
        changed[later] = (changed[later] + 5) % 100 + 3
        one, other = run(model, perturbation, 0.7, tokens), run(model, perturbation, 0.7, changed)
        assert (one[:, :cut] - other[:, :cut]).abs().max() < 1e-5
        assert (one[:, cut:] - other[:, cut:]).abs().max() > 1e-2


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_blocks_and_what_counts_as_common_do_not_matter(build_model, monkeypatch, family):
    model, tokens = build_model(family), some_tokens()
    calls = []
    with attending(model, probe_layouts(model), lambda call: calls.append(call) or call.plain()):
        model(input_ids=tokens, use_cache=False)
    rotary = measure_rotary(calls[0].layout, calls[0].cos[0], calls[0].sin[0], calls[0].scaling)
    offsets = torch.from_numpy(np.stack([each.offsets() for each in displacements(0.7)]))
    results = []
    for block, common in [(64, 0), (64, 2), (7, 0.05), (7, 0), (7, 2)]:
        monkeypatch.setattr(perturb, "BLOCK", block)
        monkeypatch.setattr(perturb, "COMMON", common)
        results.append(offset_logits(calls[0].query, calls[0].key, rotary, offsets).tril())
    for result in results[1:]:
        torch.testing.assert_close(result, results[0])
    still = offset_logits(calls[0].query, calls[0].key, rotary, torch.zeros_like(offsets)).tril()
    torch.testing.assert_close(still, calls[0].logits().tril())


def test_the_text_way_reads_the_tokens_in_their_new_order(build_model):
    model, tokens = build_model("llama"), some_tokens()
    moved = torch.stack([row[each.order] for row, each in zip(tokens, displacements(0.7), strict=True)])
    assert torch.equal(run(model, "text", 0.7, tokens), model(input_ids=moved, use_cache=False).logits)
    with perturbing(model, probe_layouts(model), "text", lambda ids: displacements(0.7)):
        by_position = model(tokens, use_cache=False).logits
    assert torch.equal(by_position, model(moved, use_cache=False).logits)


def test_the_feature_way_perturbs_the_chosen_layers_only(build_model):
    model, tokens = build_model("llama"), some_tokens()
    first = {}
    layer = model.model.layers[0].self_attn
    handle = layer.register_forward_hook(lambda module, args, output: first.update(output=output[0]))
    plain = model(input_ids=tokens, use_cache=False).logits
    before = first.pop("output")
    last = run(model, "feature", 0.7, tokens, layers=[1])
    assert torch.allclose(first.pop("output"), before) and not torch.allclose(last, plain)
    run(model, "feature", 0.7, tokens, layers=[0])
    assert not torch.allclose(first["output"], before)
    handle.remove()


@pytest.mark.parametrize("perturbation", ["position", "feature"])
@pytest.mark.parametrize(
    ("kind", "rope"),
    [
        ("longrope", LONGROPE),
        ("dynamic", {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}),
    ],
)
def test_a_table_that_changes_with_the_largest_position_is_refused_in_one_line(build_model, perturbation, kind, rope):
    family = ("phi3", {"rope_parameters": rope, "original_max_position_embeddings": 16})
    model = build_model(family[0], **family[1]) if kind == "longrope" else build_model("llama", rope_parameters=rope)
    with pytest.raises(UserError, match=rf"position table of type '{kind}'.*tolerance\.perturbations") as caught:
        run(model, perturbation, 0.1, some_tokens())
    assert "\n" not in str(caught.value)
    run(model, "text", 0.1, some_tokens())


def test_an_unknown_way_and_a_cache_are_refused(build_model):
    model, tokens = build_model("llama"), some_tokens()
    with pytest.raises(UserError, match=r"'texts'.*text, position, feature"):
        run(model, "texts", 0.1, tokens)
    with perturbing(model, probe_layouts(model), "position", lambda ids: displacements(0.1)):
        cache = model(input_ids=tokens, use_cache=True).past_key_values
        with pytest.raises(ValueError, match="use_cache=False"):
            model(input_ids=tokens, past_key_values=cache)
