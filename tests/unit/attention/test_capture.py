"""Capture against the models themselves: the logits each family feeds its softmax, and who is refused.

The models' own queries and keys are taken without any of Triaxis: an attention function of this file, in an ordinary
forward pass, is given them after RoPE.
"""

import sys

import numpy as np
import pytest
import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface
from transformers.models.llama import modeling_llama
from transformers.models.llama.modeling_llama import rotate_half

from triaxis.attention.capture import attending
from triaxis.attention.layout import measure_rotary, probe_layouts
from triaxis.attention.replay import attention_modules
from triaxis.attention.rope import Rotary
from triaxis.base.errors import UserError
from triaxis.logits.logits import logits
from unit.families import PAGE, ROTARY, UNROTATED, YARN, page


def some_tokens(length: int, sequences: int = 2) -> torch.Tensor:
    return torch.randint(3, 128, (sequences, length), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def run(model, tokens: torch.Tensor) -> torch.Tensor:
    """The last hidden state (sequences, length, size) of an ordinary forward pass."""
    return model.base_model(input_ids=tokens, use_cache=False).last_hidden_state


def own_logits(model, tokens: torch.Tensor) -> dict[int, np.ndarray]:
    """Layer -> (sequences, heads, length, length), as the model hands its queries and keys to its attention."""
    found, before = {}, model.config._attn_implementation

    def spy(module, query, key, value, mask, scaling=None, **options):
        eager = sys.modules[type(module).__module__].eager_attention_forward
        own = ALL_ATTENTION_FUNCTIONS.get_interface(before, eager)
        shared = key.double().repeat_interleave(query.shape[1] // key.shape[1], dim=1)
        found[module.layer_idx] = (scaling * query.double() @ shared.mT).numpy()
        return own(module, query, key, value, mask, scaling=scaling, **options)

    AttentionInterface.register("spy", spy)
    AttentionMaskInterface.register("spy", ALL_MASK_ATTENTION_FUNCTIONS[before])
    model.set_attn_implementation("spy")
    run(model, tokens)
    model.set_attn_implementation(before)
    return found


@torch.inference_mode()
def captured(model, tokens: torch.Tensor):
    """Layer -> rebuilt logits, layer -> rotation, and the last hidden state of the captured pass."""
    rebuilt, rotaries = {}, {}

    def attend(call):
        rotary = measure_rotary(call.layout, call.cos[0], call.sin[0], call.scaling)
        rotaries[call.layer] = rotary
        pairs = zip(call.query.float().numpy(), call.key.float().numpy(), strict=True)
        rebuilt[call.layer] = np.stack([logits(query, key, rotary) for query, key in pairs])
        return call.plain()

    with attending(model, probe_layouts(model), attend):
        return rebuilt, rotaries, run(model, tokens)


def refusal(function, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The logits


@pytest.mark.parametrize("length", [12, 24])  # longrope has another table beyond 16
@pytest.mark.parametrize("name", ROTARY)
def test_rebuilt_logits_are_the_models_own_and_its_output_does_not_change(build_model, name, length):
    family, settings, *_ = ROTARY[name]
    model, tokens = build_model(family, **settings), some_tokens(length)
    implementation, plain, own = model.config._attn_implementation, run(model, tokens), own_logits(model, tokens)
    rebuilt, _, hidden = captured(model, tokens)
    assert set(rebuilt) == set(own) == {0, 1}
    for layer, expected in own.items():
        assert expected.std() > 0.05
        np.testing.assert_allclose(rebuilt[layer], expected, rtol=0, atol=3e-6 * np.abs(expected).max())
    assert torch.equal(hidden, plain)
    assert model.config._attn_implementation == implementation
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert torch.equal(run(model, tokens), plain)


@torch.inference_mode()
def rounding(model, tokens: torch.Tensor) -> dict[int, float]:
    """Layer -> how far rounding may move a logit: that of cos or sin, product, and sum, of a query and of a key."""
    errors = {}

    def attend(call):
        query, key = (x.double().norm(dim=-1).max() for x in (call.query, call.key))
        size = abs(call.scaling) * float(query * key) * call.rotary().amplitude ** 2
        errors[call.layer] = 6 * torch.finfo(call.query.dtype).eps / 2 * size
        return call.plain()

    with attending(model, probe_layouts(model), attend):
        run(model, tokens)
    return errors


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ROTARY)
def test_in_half_precision_too(build_model, kinds, name, dtype):
    """Some families hold cos and sin in float32, or compute in it: the rotation is theirs, bit for bit."""
    family, settings, *_ = ROTARY[name]
    model, tokens = build_model(family, **settings).to(dtype), some_tokens(24)
    plain, own, limits = run(model, tokens), own_logits(model, tokens), rounding(model, tokens)
    rebuilt, _, hidden = captured(model, tokens)
    for layer, expected in own.items():
        np.testing.assert_allclose(rebuilt[layer], expected, rtol=0, atol=limits[layer])
    assert torch.equal(hidden, plain)
    if dtype == torch.bfloat16:
        kinds.saw("bfloat16", "each family of docs/models.md", "the hidden states of the plain run, bit for bit")


@pytest.mark.parametrize("name", ["OLMo 2", "Command R (Cohere)", "ERNIE 4.5", "Llama 2", "GLM"])
def test_vectors_rotated_in_half_precision_are_the_layers_own(build_model, name):
    family, settings, *_ = ROTARY[name]
    model, live = build_model(family, **settings).to(torch.bfloat16), {}

    def attend(call):
        for own, ours in zip(live.pop(call.layer), call._rotated(), strict=True):
            assert ours.dtype == torch.bfloat16 and torch.equal(ours, own)
        return call.plain()

    with attending(model, probe_layouts(model), attend, lambda layer, *vectors: live.update({layer: vectors[:2]})):
        run(model, some_tokens(12, 1))


@pytest.mark.parametrize("name", ROTARY)
def test_a_layout_names_the_dimensions_that_turn(build_model, name):
    family, settings, head_dim, turned = ROTARY[name]
    layouts = probe_layouts(build_model(family, **settings))
    assert [layouts[layer].head_dim for layer in (0, 1)] == [head_dim] * 2
    assert tuple(len(layouts[layer].dimension) for layer in (0, 1)) == turned
    for layout in layouts.values():
        assert sorted(layout.partner.tolist()) == layout.dimension.tolist()
        assert layout.sign.sum() == 0


# Dimensions without a value


def silence(model, layers, alive=()) -> None:
    """Let every weight that makes queries and keys give 0 in all dimensions of a head but those `alive`."""
    with torch.no_grad():
        for layer, module in attention_modules(model).items():
            width = getattr(module, "head_dim", 16)
            for name, weight in module.named_parameters() if layer in layers else ():
                if name.startswith("o_proj") or name.startswith("dense"):
                    continue
                off = -1.0 if "norm" in name and type(module).__module__.endswith("gemma3") else 0.0
                for place in range(weight.shape[-1 if "norm" in name else 0]):
                    if place % width not in alive:
                        (weight[..., place] if "norm" in name else weight[place]).fill_(off)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("alive", [set(range(64)) - {5}, set(range(64)) - {0, 1, 2, 3}, {0, 8}, {1}, set()], ids=str)
@pytest.mark.parametrize("name", ROTARY)
def test_a_layout_is_as_if_no_weight_were_0(build_model, name, alive, dtype):
    family, settings, *_ = ROTARY[name]
    model, tokens = build_model(family, **settings).to(dtype), some_tokens(12)
    expected = probe_layouts(model)
    silence(model, [0], alive)
    found = probe_layouts(model)
    assert all(found[layer].equals(expected[layer]) for layer in (0, 1))
    plain, own, limits = run(model, tokens), own_logits(model, tokens), rounding(model, tokens)
    rebuilt, rotaries, hidden = captured(model, tokens)
    assert torch.equal(hidden, plain)
    for layer, rotary in rotaries.items():
        held = np.concatenate([rotary.real, rotary.imaginary, rotary.unrotated])
        np.testing.assert_array_equal(np.sort(held), np.arange(found[layer].head_dim))
        limit = limits[layer] if dtype == torch.bfloat16 else 3e-6 * np.abs(own[layer]).max()
        np.testing.assert_allclose(rebuilt[layer], own[layer], rtol=0, atol=limit)


@pytest.mark.parametrize("layer", [0, 1])
def test_a_factor_of_a_norm_that_is_0_is_as_if_it_were_not(build_model, kinds, layer):
    """Gemma 3, whose factor is 1 + weight, as published: one dimension of one layer is 0."""
    family, settings, *_ = ROTARY["Gemma 3"]
    model, tokens = build_model(family, **settings), some_tokens(24)
    expected, rotaries = probe_layouts(model), captured(model, tokens)[1]
    with torch.no_grad():
        attention = model.base_model.layers[layer].self_attn
        attention.q_norm.weight[5] = attention.k_norm.weight[5] = -1
    found, own = probe_layouts(model), own_logits(model, tokens)
    rebuilt, again, _ = captured(model, tokens)
    for n in (0, 1):
        assert found[n].equals(expected[n]) and 5 in found[n].dimension
        for name in ("real", "imaginary", "frequency", "unrotated"):
            np.testing.assert_array_equal(getattr(again[n], name), getattr(rotaries[n], name))
        np.testing.assert_allclose(rebuilt[n], own[n], rtol=0, atol=3e-6 * np.abs(own[n]).max())
    tried = "a dimension whose norms have factors of 0 (Gemma 3, published)"
    kinds.saw("rotations", tried, "it turns as it would with a value; no pair is lost")


@torch.inference_mode()
def test_probing_leaves_weights_random_state_and_hooks(build_model, hooked, state_of):
    model, tokens = build_model("qwen3", head_dim=16), some_tokens(12)
    expected, plain = probe_layouts(model), run(model, tokens)
    before, state = state_of(hooked(model)), torch.get_rng_state()
    found = probe_layouts(model)
    assert all(found[layer].equals(expected[layer]) for layer in expected)
    assert torch.equal(torch.get_rng_state(), state) and state_of(model) == before
    assert torch.equal(captured(model, tokens)[2], plain)


@pytest.mark.parametrize(("family", "distance"), [("llama", 8), ("cohere", 1), ("phi", 4)])
def test_pairs_are_halves_or_neighbours_as_the_family_has_them(build_model, family, distance):
    model = build_model(family)
    _, rotaries, _ = captured(model, some_tokens(12))
    np.testing.assert_array_equal(rotaries[0].imaginary - rotaries[0].real, distance)


@torch.inference_mode()
def test_the_live_vectors_are_those_of_the_first_sequence_after_rotation(build_model):
    model, tokens, found = build_model("qwen3", head_dim=32), some_tokens(12), {}

    def live(layer, query, key, scaling):
        shared = key.double().repeat_interleave(query.shape[1] // key.shape[1], dim=1)
        found[layer] = (scaling * query.double() @ shared.mT).numpy()

    own = own_logits(model, tokens)
    with attending(model, probe_layouts(model), lambda call: call.plain(), live):
        run(model, tokens)
    for layer, expected in own.items():
        np.testing.assert_allclose(found[layer], expected[:1], rtol=0, atol=3e-6 * np.abs(expected).max())


def test_what_attend_returns_is_what_the_model_uses(build_model):
    model, tokens = build_model("llama"), some_tokens(12)

    def attend(call):
        output, weights = call.plain()
        return torch.zeros_like(output) if call.layer == 1 else output, weights

    with attending(model, probe_layouts(model), attend):
        cut = run(model, tokens)
    with torch.no_grad():
        model.base_model.layers[1].self_attn.o_proj.weight.zero_()
    assert torch.equal(cut, run(model, tokens))


def test_the_model_is_restored_after_an_error(build_model):
    model, tokens = build_model("llama"), some_tokens(12)
    plain = run(model, tokens)

    def attend(call):
        raise RuntimeError("an experiment went wrong")

    with pytest.raises(RuntimeError), attending(model, probe_layouts(model), attend):
        run(model, tokens)
    assert model.config._attn_implementation == "sdpa"
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert torch.equal(run(model, tokens), plain)


# The frequencies


@pytest.mark.parametrize("theta", [1e4, 5e5])
def test_measured_frequencies_are_those_of_the_configuration(build_model, theta):
    rope = {"rope_type": "default", "rope_theta": theta}
    model = build_model("llama", rope_parameters=rope, max_position_embeddings=512)
    _, rotaries, _ = captured(model, some_tokens(512, 1))
    for rotary in rotaries.values():
        np.testing.assert_allclose(rotary.frequency, theta ** (-rotary.real / 8), rtol=1e-6)
        assert rotary.amplitude == pytest.approx(1, abs=1e-7)
        assert rotary.scale == 16**-0.5 and len(rotary.unrotated) == 0


def test_each_layer_type_has_its_own_frequencies(build_model):
    _, rotaries, _ = captured(build_model(*ROTARY["Gemma 3"][:1], **ROTARY["Gemma 3"][1]), some_tokens(24))
    for layer, theta in ((0, 1e4), (1, 1e6)):
        np.testing.assert_allclose(rotaries[layer].frequency, theta ** (-rotaries[layer].real / 16), rtol=1e-5)
        assert rotaries[layer].scale == pytest.approx(20**-0.5)


def test_yarn_measures_its_amplitude(build_model):
    _, rotaries, _ = captured(build_model("llama", rope_parameters=YARN), some_tokens(12))
    assert rotaries[0].amplitude == pytest.approx(0.1 * np.log(4.0) + 1, abs=1e-6)


def test_frequencies_beyond_half_a_turn_and_of_either_sense_are_measured(build_model):
    layout = probe_layouts(build_model("llama"))[0]
    frequency = np.array([3.1, 2.0, -0.7, 1e-1, 1e-2, -1e-3, 1e-5, 0.0])
    angle = np.multiply.outer(np.arange(1000), np.tile(frequency, 2))
    cos, sin = (torch.from_numpy(1.3 * turn(angle)).float() for turn in (np.cos, np.sin))
    rotary = measure_rotary(layout, cos, sin, 0.5)
    np.testing.assert_allclose(rotary.frequency, frequency, rtol=0, atol=1e-9)
    assert rotary.amplitude == pytest.approx(1.3, rel=1e-6) and rotary.scale == 0.5
    assert isinstance(rotary, Rotary)


def test_angles_that_are_not_proportional_to_position_are_refused(build_model):
    layout = probe_layouts(build_model("llama"))[0]
    angle = torch.arange(40)[:, None] ** 1.5 * 0.1 * torch.ones(16)
    assert "not proportional to position" in refusal(measure_rotary, layout, angle.cos(), angle.sin(), 1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_table_that_is_not_finite_is_refused(build_model, value):
    layout = probe_layouts(build_model("llama"))[0]
    table = torch.zeros(12, 16)
    table[3, 3] = value
    for cos, sin in ((1 + table, torch.zeros(12, 16)), (torch.ones(12, 16), table)):
        assert "are NaN or infinite" in refusal(measure_rotary, layout, cos, sin, 1.0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"real": np.array([0, 0]), "imaginary": np.array([2, 2])}, "each once: [0, 0, 2, 2, 4]"),
        ({"unrotated": np.array([3])}, "each once: [0, 1, 2, 3, 3]"),
        ({"unrotated": np.array([5])}, "each once: [0, 1, 2, 3, 5]"),
        ({"frequency": np.array([1.0])}, "2 pairs of a layer do not each have a frequency: [1.0]"),
        ({"frequency": np.array([1.0, np.nan])}, "do not each have a frequency: [1.0, nan]"),
    ],
)
def test_pairs_and_the_rest_are_all_dimensions_once(change, says):
    """As a patched reading once listed a pair twice, which no logit of dimensions without a value shows."""
    own = Rotary(1.0, 1.0, np.arange(2), np.arange(2, 4), np.array([1.0, 0.1]), np.array([4]))
    assert says in refusal(lambda: Rotary(**(vars(own) | change)))


# Who is refused


SAYS = {
    "GPT-J": "no rotary position embedding",
    "GPT-2": "no rotary position embedding",
    "BLOOM": "no rotary position embedding",
    "Falcon": "refuses capture: its attention does not go through the attention interface",
    "Llama 4": "refuses capture: no (cos, sin)",
    "Hunyuan": "is not a rotation of pairs of dimensions",
}


@pytest.mark.parametrize("name", UNROTATED)
def test_a_model_that_cannot_be_captured_is_refused_by_name(build_model, name):
    family, settings, _ = UNROTATED[name]
    said = refusal(probe_layouts, build_model(family, **settings))
    assert f"a model of type '{family}'" in said and SAYS.get(name, "") in said


def test_a_model_whose_layers_all_leave_out_the_rotation_is_refused(build_model):
    said = refusal(probe_layouts, build_model("smollm3", no_rope_layers=[0, 0]))
    assert "type 'smollm3' rotates nothing" in said and "capture: logits" in said


def test_the_page_of_models_is_what_the_families_show():
    assert PAGE.read_text() == page()


def test_attention_modules_are_named_by_layer(build_model):
    model = build_model("llama", num_hidden_layers=3)
    found = attention_modules(model)
    assert found == {layer: model.base_model.layers[layer].self_attn for layer in range(3)}


def half_of(table):
    return table[..., : table.shape[-1] // 2]


def with_a_third_dimension(x, cos, sin):
    return x * cos + rotate_half(x) * sin + 0.1 * x.roll(1, -1) * sin


def with_a_norm_after(x, cos, sin):
    turned = x * cos + rotate_half(x) * sin
    return turned / turned.square().mean(-1, keepdim=True).sqrt()


def with_a_scaled_partner(x, cos, sin):
    return x * cos + 1.01 * rotate_half(x) * sin


def with_sin_from_another_column(x, cos, sin):
    return x * cos + rotate_half(x) * sin.roll(1, -1)


def with_two_frequencies_in_a_pair(x, cos, sin):
    return x * cos + torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2) * sin


def with_one_frequency_for_two_pairs(x, cos, sin):
    cos, sin = (torch.cat([half_of(table)[..., :1], half_of(table)[..., :-1]] * 2, dim=-1) for table in (cos, sin))
    return x * cos + rotate_half(x) * sin


def with_one_partner_for_two(x, cos, sin):
    other = rotate_half(x)
    return x * cos + torch.cat([other[..., :1], other[..., :1], other[..., 2:]], dim=-1) * sin


def with_a_mirror(x, cos, sin):
    return x * cos + x.roll(8, -1) * sin


NOT_PLANAR = [
    with_a_third_dimension,
    with_a_norm_after,
    with_a_scaled_partner,
    with_sin_from_another_column,
    with_two_frequencies_in_a_pair,
    with_one_frequency_for_two_pairs,
    with_one_partner_for_two,
    with_a_mirror,
]


@pytest.mark.parametrize("rotation", NOT_PLANAR, ids=lambda rotation: rotation.__name__)
def test_a_rotation_that_is_not_planar_is_refused(build_model, monkeypatch, rotation):
    def apply(query, key, cos, sin, unsqueeze_dim=1):
        cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
        return rotation(query, cos, sin), rotation(key, cos, sin)

    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", apply)
    said = refusal(probe_layouts, build_model("llama"))
    assert "a model of type 'llama' refuses capture: what layer 0 does" in said and "not a rotation of pairs" in said


def layers_that_pair_up_differently(build_model):
    model = build_model("llama", num_hidden_layers=3)
    other = build_model("ernie4_5", num_hidden_layers=3, head_dim=16)
    model.base_model.layers[2].self_attn = other.base_model.layers[2].self_attn
    model.base_model.layers[2].self_attn.config = model.config
    return model


def a_number_of_two_modules(build_model):
    model = build_model("llama")
    model.base_model.layers[1].self_attn.layer_idx = 0
    return model


def angles_that_are_nan(build_model):
    model = build_model("llama")
    model.base_model.rotary_emb.attention_scaling = float("nan")
    return model


def angles_that_are_not_proportional(build_model):
    model = build_model("llama")
    own = model.base_model.rotary_emb.forward
    model.base_model.rotary_emb.forward = lambda x, position_ids: own(x, position_ids**2)
    return model


def a_second_call_of_attention(build_model):
    return build_model("diffllama")


@pytest.mark.parametrize(
    ("tried", "build", "says"),
    [
        (
            "layers that turn different dimensions by the same angles",
            layers_that_pair_up_differently,
            "layers 0 and 2 are given the same angles, but turn different",
        ),
        (
            "two attention modules of one layer",
            a_number_of_two_modules,
            "2 attention modules, and 1 numbers for them",
        ),
        ("angles that are NaN", angles_that_are_nan, "layer 0: queries or keys are NaN or infinite"),
        (
            "angles that are not proportional to position",
            angles_that_are_not_proportional,
            "layer 0: the rotation angles of this model are not proportional",
        ),
        (
            "attention in two parts (DiffLlama)",
            a_second_call_of_attention,
            "layer 0 calls the attention function of transformers 2 times, not once",
        ),
    ],
)
def test_a_rotation_that_cannot_be_told_is_refused_by_layer(build_model, kinds, tmp_path, tried, build, says):
    model = build(build_model)
    assert says in kinds.refused("rotations", tried, tmp_path, lambda: probe_layouts(model))


def test_a_failed_probe_restores_the_model(build_model, monkeypatch):
    model = build_model("llama")
    own = modeling_llama.apply_rotary_pos_emb
    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", lambda q, k, *_: (q.roll(1, -1), k))
    refusal(probe_layouts, model)
    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", own)
    assert model.config._attn_implementation == "sdpa"
    assert not any(module._forward_pre_hooks for module in model.modules())
    probe_layouts(model)
