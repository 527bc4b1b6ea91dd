"""Surgery: additive logits against their definition, inside models that they must not otherwise change."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from triaxis.attention.capture import Call, attending
from triaxis.attention.layout import measure_rotary, probe_layouts
from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.base.tables import to_csv
from triaxis.surgery.additive import Additive, from_table, to_table
from triaxis.surgery.calibrate import calibrate_model
from triaxis.surgery.figures import plot_surgery
from triaxis.surgery.replace import noise_like, replace_logits
from triaxis.surgery.run import InterventionRunner, interventions_by_layer, least_loss, most_damaging, run_surgery
from triaxis.surgery.schema import SURGERY
from triaxis.surgery.summary import by_variant, surgery_losses
from triaxis.surgery.variants import ADDITIVE, CHOSEN, VARIANTS
from triaxis.text.schema import TOKENS
from triaxis.text.windows import Prefix, sample_beyond, sample_sequences
from unit.families import SIZES

torch.set_num_threads(1)

LENGTH = 24
LAYERS = {"num_hidden_layers": 3}
FAMILIES = {
    "llama": {},
    "qwen3": {"head_dim": 16},
    "mistral": {"sliding_window": 8},
    "gpt_neox": {"rotary_pct": 0.25},
    "gemma2": {"head_dim": 16, "sliding_window": 8, "attn_logit_softcapping": 5.0},
    "gpt_oss": {"head_dim": 16, "num_local_experts": 2, "num_experts_per_tok": 1},
    "smollm3": {"no_rope_layers": [1, 0, 1]},
}


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def build(family: str, **settings) -> PreTrainedModel:
    """A tiny model whose every weight (norms, biases and sinks too) is random."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **(SIZES | LAYERS | FAMILIES.get(family, {}) | settings))
    model = AutoModelForCausalLM.from_config(config).eval()
    for weight in model.parameters():
        weight += (0.3 if weight.ndim == 1 else 0.1) * torch.randn_like(weight)
    return model


def draw(count: int, seed: int, length: int = LENGTH) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, 128, (count, length), dtype=np.int32)


def forms_of(model: PreTrainedModel, seed: int = 1) -> dict[tuple[str, int], Additive]:
    return calibrate_model(model, probe_layouts(model), draw(3, seed), batch_tokens=2 * LENGTH)


def surgery_rows(model: PreTrainedModel, forms, **options) -> list[dict]:
    settings = {"batch_tokens": 2 * LENGTH, "stepwise": ["f+g"], "step_sequences": 2, "heads_of_layers": 1} | options
    layouts, selection = probe_layouts(model), (draw(2, 3), [20, 21])
    return run_surgery(model, layouts, draw(3, 2), [5, 6, 7], selection, forms, **settings).to_pylist()


def measures(rows: list[dict]) -> list[dict]:
    """What rows of surgery/ hold beside their keys."""
    return [{name: row[name] for name in ("loss", "perplexity", "agreement", "kl")} for row in rows]


def run(model: PreTrainedModel, attend: Callable, tokens: np.ndarray) -> torch.Tensor:
    with attending(model, probe_layouts(model), attend):
        return model(input_ids=torch.from_numpy(tokens).long(), use_cache=False).logits


def calls_of(model: PreTrainedModel, tokens: np.ndarray) -> list[Call]:
    """Every layer's call in the plain model."""
    calls = []

    def attend(call: Call):
        calls.append(call)
        return call.plain()

    run(model, attend, tokens)
    return calls


def rotary_of(call: Call):
    return measure_rotary(call.layout, call.cos[0], call.sin[0], call.scaling)


def rotaries_of(model: PreTrainedModel) -> dict:
    return {call.layer: rotary_of(call) for call in calls_of(model, draw(1, 0))}


# On several devices


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_hooks_of_accelerate_stay_and_change_nothing(family: str, hooked, state_of, kinds) -> None:
    model = build(family)
    expected_forms, expected = forms_of(model), surgery_rows(model, forms_of(model))
    before = state_of(hooked(model))
    forms = forms_of(model)
    for key, form in expected_forms.items():
        assert torch.equal(forms[key].key, form.key)
    assert surgery_rows(model, forms) == expected
    assert state_of(model) == before
    kinds.saw(
        "device: spread", "surgery on a model with hooks of accelerate", "the hooks as before, the rows of one device"
    )


# Nothing replaced


@pytest.mark.parametrize("family", FAMILIES)
def test_a_models_own_logits_put_back_leave_it_as_it_was(family: str) -> None:
    model, tokens = build(family), draw(2, 2)
    plain = model(input_ids=torch.from_numpy(tokens).long(), use_cache=False).logits
    replaced = run(model, lambda call: call.with_logits(call.logits()), tokens)
    assert (replaced - plain).abs().max() <= 1e-5 * plain.abs().max()
    none = run(model, replace_logits(VARIANTS["f+g"], {}, {}, frozenset()), tokens)
    assert (none - plain).abs().max() <= 1e-5 * plain.abs().max()


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_those_of_the_models_own_eager_attention(family: str) -> None:
    model, tokens = build(family), draw(2, 2)
    ours = [call.weights() for call in calls_of(model, tokens)]
    model.set_attn_implementation("eager")
    ids = torch.from_numpy(tokens).long()
    eager = model(input_ids=ids, use_cache=False, output_attentions=True).attentions
    for own, other in zip(ours, eager, strict=True):
        assert (own - other[..., : own.shape[-1]]).abs().max() <= 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_that_answer_from_memory_change_nothing(family: str) -> None:
    model = build(family)
    forms = forms_of(model)
    operation = InterventionRunner(model, probe_layouts(model), draw(2, 2), [5, 6], forms)
    runner, layers = operation.runner, operation.layers
    whole = next(
        intervention
        for intervention in interventions_by_layer(layers)
        if intervention.scope == "from_first" and intervention.layer == layers[-1]
    )
    variant = VARIANTS["f+g"]
    attend = replace_logits(variant, forms, runner.rotaries, frozenset(layers))
    full = runner.run(attend, keep="replaced")
    assert measures(operation.run("f+g", whole)) == full
    for intervention in interventions_by_layer(layers):
        attend = replace_logits(variant, forms, runner.rotaries, intervention.layers)
        for one, other in zip(measures(operation.run("f+g", intervention)), runner.run(attend), strict=True):
            assert one == pytest.approx(other, abs=1e-6)


# The definition


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "qwen3"])
def test_additive_logits_equal_a_dense_sum_over_pairs_and_cells(family: str) -> None:
    call = calls_of(build(family), draw(2, 2))[1]
    rotary = rotary_of(call)
    heads, pairs = call.query.shape[1], len(rotary.frequency)
    generator = torch.Generator().manual_seed(0)
    own = Additive(*(torch.randn(heads, pairs, dtype=torch.complex64, generator=generator) for _ in range(2)))
    position = own.logits(call.query, call.key, rotary, meaning=False)
    meaning = own.logits(call.query, call.key, rotary, position=False)
    query, key = call.query.double().numpy(), call.key.double().numpy()
    mean, turn = own.key.numpy(), own.turn.numpy()
    groups = heads // key.shape[1]
    for b, h, i, j in [(0, 0, 5, 5), (0, 3, 7, 2), (1, 1, 20, 0), (1, 2, 23, 11), (0, 2, 1, 0)]:
        q, k = query[b, h, i], key[b, h // groups, j]
        qc = rotary.scale * rotary.amplitude**2 * (q[rotary.real] + 1j * q[rotary.imaginary])
        kc = k[rotary.real] + 1j * k[rotary.imaginary]
        f = (qc * mean[h].conj() * np.exp(1j * rotary.frequency * (i - j))).real.sum()
        g = (qc * (kc - mean[h]).conj() * turn[h]).real.sum()
        g += rotary.scale * q[rotary.unrotated] @ k[rotary.unrotated]
        assert position[b, h, i, j].item() == pytest.approx(f, abs=1e-5)
        assert meaning[b, h, i, j].item() == pytest.approx(g, abs=1e-5)


def test_the_mean_form_is_the_closed_form_of_the_calibration_keys() -> None:
    model, tokens = build("llama"), draw(3, 1)
    forms = calibrate_model(model, probe_layouts(model), tokens, batch_tokens=2 * LENGTH)
    for call in calls_of(model, tokens):
        rotary = rotary_of(call)
        keys = rotary.to_complex(call.key.numpy()).repeat(2, axis=1)
        mean = np.exp(1j * np.outer(np.arange(LENGTH), rotary.frequency)).mean(0)
        for name, first in (("mean", 0), ("mean+sink", 1)):
            own = forms[name, call.layer]
            np.testing.assert_allclose(own.key, keys[:, :, first:].mean((0, 2)), atol=1e-5)
            np.testing.assert_allclose(own.turn, np.broadcast_to(mean, own.turn.shape), atol=1e-6)
        np.testing.assert_allclose(forms["first", call.layer].key, keys[:, :, 0].mean(0), atol=1e-5)


def test_the_attended_form_weighs_rotations_by_attention() -> None:
    model, tokens = build("mistral"), draw(3, 1)
    forms = forms_of(model)
    distance = np.subtract.outer(np.arange(LENGTH), np.arange(LENGTH))
    for call in calls_of(model, tokens):
        rotary, weights = rotary_of(call), call.weights().double().numpy()
        turns = np.exp(1j * distance[..., None] * rotary.frequency)
        for name, first in (("attended", 0), ("attended+sink", 1)):
            own = forms[name, call.layer]
            total = weights[..., first:].sum((0, 2, 3))[:, None]
            mean = np.einsum("bhij,ijm->hm", weights[..., first:], turns[:, first:]) / total
            np.testing.assert_allclose(own.turn, mean, atol=1e-5)
            assert torch.equal(own.key, forms["mean+sink" if first else "mean", call.layer].key)


def test_f_and_g_alone_add_up_to_their_sum() -> None:
    model = build("llama")
    forms, rotaries = forms_of(model), rotaries_of(model)
    call = calls_of(model, draw(2, 2))[1]
    seen = {}

    def catch(name: str):
        def with_logits(logits: torch.Tensor):
            seen[name] = logits
            return None, None

        return with_logits

    for name in ("f", "g", "f+g", "f+g+sink", "attended+sink", "attended+first-f"):
        object.__setattr__(call, "with_logits", catch(name))
        replace_logits(VARIANTS[name], forms, rotaries, frozenset([call.layer]))(call)
    torch.testing.assert_close(seen["f"] + seen["g"], seen["f+g"])
    torch.testing.assert_close(seen["f+g+sink"][..., 0], call.logits()[..., 0])
    own = forms["first", call.layer].logits(call.query, call.key, rotaries[call.layer])
    torch.testing.assert_close(seen["attended+first-f"][..., 0], own[..., 0])
    torch.testing.assert_close(seen["attended+first-f"][..., 1:], seen["attended+sink"][..., 1:])


def test_a_head_alone_leaves_the_logits_of_the_others() -> None:
    model = build("llama")
    forms, rotaries = forms_of(model), rotaries_of(model)
    call = calls_of(model, draw(2, 2))[1]
    seen = []
    object.__setattr__(call, "with_logits", lambda logits: seen.append(logits) or (None, None))
    replace_logits(VARIANTS["f+g"], forms, rotaries, frozenset([call.layer]), head=2)(call)
    replace_logits(VARIANTS["f+g"], forms, rotaries, frozenset([call.layer]))(call)
    torch.testing.assert_close(seen[0][:, 2], seen[1][:, 2])
    for head in (0, 1, 3):
        torch.testing.assert_close(seen[0][:, head], call.logits()[:, head])


# What must follow


def test_a_model_whose_keys_are_constant_where_pairs_turn_loses_nothing() -> None:
    """Keys from a bias alone in the fast half of the pairs; the slow half does not turn at all."""
    model = build("llama", attention_bias=True, rope_parameters={"rope_type": "default", "rope_theta": 1e30})
    half = 4  # of 8 pairs: with this theta, the second half turns by less than 1e-14 a token
    for layer in model.model.layers:
        layer.self_attn.k_proj.weight.view(2, 2, 8, 64)[:, :, :half] = 0
    rows = surgery_rows(model, forms_of(model), stepwise=[], heads_of_layers=1)
    for row in rows:
        if row["variant"] not in ("f", "g", "window-64", "window-16"):
            assert row["kl"] <= 1e-5, row
            assert row["agreement"] == 1
    assert max(row["kl"] for row in rows if row["variant"] == "f") > 1e-4


def test_an_additive_model_that_position_rules_is_lost_without_f() -> None:
    model = build("llama", attention_bias=True)
    for layer in model.model.layers:
        layer.self_attn.k_proj.weight.zero_()
    losses = {row["variant"]: row["kl"] for row in surgery_rows(model, forms_of(model), stepwise=[])}
    assert losses["f+g"] <= 1e-5 and losses["f"] <= 1e-5 < losses["g"]


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "exact"])
def test_the_future_stays_unseen(name: str) -> None:
    model, variant = build("mistral"), VARIANTS[name]
    variant = replace(variant, form="attended") if variant.form == CHOSEN else variant
    attend = replace_logits(variant, forms_of(model), rotaries_of(model), frozenset([0, 1, 2]), numbers=[5, 6])
    tokens = draw(2, 2)
    changed = tokens.copy()
    changed[:, 15:] = (changed[:, 15:] + 7) % 100 + 3
    before, after = run(model, attend, tokens), run(model, attend, changed)
    torch.testing.assert_close(before[:, :15], after[:, :15])
    assert (before[:, 15:] - after[:, 15:]).abs().max() > 1e-2


def test_the_model_is_left_as_it_was_found() -> None:
    model = build("llama")
    ids = torch.from_numpy(draw(1, 2)).long()
    before = model(input_ids=ids).logits
    surgery_rows(model, forms_of(model))
    assert torch.equal(before, model(input_ids=ids).logits)
    assert not any("forward" in vars(module) for module in model.modules())


# Controls


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gpt_oss"])
def test_a_window_is_a_softmax_over_its_keys_and_the_first(family: str) -> None:
    """Through softcap, sinks and the model's own window."""
    call = calls_of(build(family), draw(2, 2))[0]
    variant = replace(VARIANTS["window-16"], window=5)
    output, _ = replace_logits(variant, {}, {}, frozenset([0]))(call)
    logits = call.logits().double().numpy()
    logits = call.softcap * np.tanh(logits / call.softcap) if call.softcap else logits
    expected = np.zeros(output.shape)
    for b, h, i in np.ndindex(*logits.shape[:3]):
        seen = [j for j in range(i + 1) if (i - j < 5 or j == 0) and i - j < (call.window or LENGTH)]
        own = np.exp(logits[b, h, i, seen])
        total = own.sum() + (np.exp(call.sinks[h].item()) if call.sinks is not None else 0)
        value = call.value[b, h // (logits.shape[1] // call.value.shape[1])].double().numpy()
        expected[b, i, h] = own @ value[seen] / total
    np.testing.assert_allclose(output.numpy(), expected, atol=2e-5)


def test_outside_its_window_a_control_may_be_additive() -> None:
    model = build("llama")
    forms, rotaries = forms_of(model), rotaries_of(model)
    call = calls_of(model, draw(2, 2))[1]
    seen = []
    object.__setattr__(call, "with_logits", lambda logits: seen.append(logits) or (None, None))
    variant = replace(VARIANTS["window-16+additive"], form="attended", window=5)
    replace_logits(variant, forms, rotaries, frozenset([call.layer]))(call)
    additive, exact = forms["attended", call.layer].logits(call.query, call.key, rotaries[call.layer]), call.logits()
    for i, j in [(4, 0), (9, 5), (9, 4), (20, 0), (20, 1), (7, 7)]:
        own = exact if i - j < 5 or j == 0 else additive
        torch.testing.assert_close(seen[0][..., i, j], own[..., i, j])


def test_noise_has_the_size_of_the_error_and_is_that_of_its_sequence_and_layer() -> None:
    generator = torch.Generator().manual_seed(0)
    error = torch.randn(2, 3, 400, 400, generator=generator) * torch.arange(1, 4)[:, None, None] + 5
    noise = noise_like(error, None, [[5, 0], [6, 0]])
    seen = torch.ones(400, 400, dtype=torch.bool).tril()
    for batch, head, i in [(0, 0, 399), (1, 2, 399), (1, 1, 300)]:
        own, other = error[batch, head, i, seen[i]], noise[batch, head, i, seen[i]]
        assert other.std().item() == pytest.approx(own.std().item(), rel=0.2)
        assert other.mean().abs() < 4 * other.std() / len(other) ** 0.5
    assert torch.equal(noise_like(error[1:], None, [[6, 0]]), noise[1:])
    assert not torch.equal(noise_like(error[1:], None, [[6, 1]]), noise[1:])
    windowed = noise_like(torch.cat([error[..., :200] * 9, error[..., 200:]], -1), 100, [[5, 0], [6, 0]])
    torch.testing.assert_close(windowed[..., 399, :], noise_like(error, 100, [[5, 0], [6, 0]])[..., 399, :])


def test_the_form_of_the_controls_is_chosen_on_other_sequences() -> None:
    model = build("llama")
    rows = surgery_rows(model, forms_of(model), stepwise=[], heads_of_layers=0)
    selection = [row for row in rows if row["scope"] == "selection"]
    assert {(row["sequence"], row["variant"]) for row in selection} == {(n, v) for n in (20, 21) for v in ADDITIVE}
    assert {row["sequence"] for row in rows if row["scope"] == "all"} == {5, 6, 7}
    best = min(ADDITIVE, key=lambda name: sum(row["loss"] for row in selection if row["variant"] == name))
    assert least_loss(selection) == best


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_and_is_no_reason_to_refuse(dtype: torch.dtype) -> None:
    model = build("llama").to(dtype)
    exact = [row for row in surgery_rows(model, forms_of(model), stepwise=[]) if row["variant"] == "exact"]
    assert len(exact) == 3


# The run


def test_rows_cover_every_scope_once_and_agree_where_scopes_meet() -> None:
    model = build("llama")
    rows = surgery_rows(model, forms_of(model), heads_of_layers=2)
    keys = [(row["sequence"], row["variant"], row["scope"], row["layer"], row["head"]) for row in rows]
    assert len(set(keys)) == len(keys) == 3 * len(VARIANTS) + 2 * len(ADDITIVE) + 2 * (3 * 3 + 2 * 4)
    found = dict(zip(keys, rows, strict=True))
    for sequence in (5, 6):
        whole = found[sequence, "f+g", "all", None, None]
        first, last = (found[sequence, "f+g", f"from_{end}", 0, None]["loss"] for end in ("first", "last"))
        assert last == pytest.approx(whole["loss"], abs=1e-6)
        assert first == pytest.approx(found[sequence, "f+g", "layer", 0, None]["loss"], abs=1e-6)
        assert found[sequence, "f+g", "from_first", 2, None]["loss"] == pytest.approx(whole["loss"], abs=1e-6)
        exact = found[sequence, "exact", "all", None, None]
        assert exact["kl"] == pytest.approx(0, abs=1e-6) and exact["agreement"] == 1
        assert exact["perplexity"] == pytest.approx(np.exp(exact["loss"]))


def test_batches_do_not_matter() -> None:
    model = build("qwen3")
    forms = forms_of(model)
    one, three = surgery_rows(model, forms, batch_tokens=1), surgery_rows(model, forms, batch_tokens=3 * LENGTH)

    def order(row: dict) -> tuple:
        return tuple(str(row[name]) for name in ("sequence", "variant", "scope", "layer", "head"))

    for row, other in zip(sorted(one, key=order), sorted(three, key=order), strict=True):
        assert order(row) == order(other)
        assert row["loss"] == pytest.approx(other["loss"], abs=1e-5)


def test_layers_without_rotation_are_left_alone() -> None:
    model = build("smollm3")
    forms = forms_of(model)
    assert {layer for _, layer in forms} == {0, 2}
    assert {row["layer"] for row in surgery_rows(model, forms) if row["scope"] == "layer"} == {0, 2}


def test_calibration_is_the_same_again_and_survives_its_table() -> None:
    model = build("llama")
    one, two, other = forms_of(model, 1), forms_of(model, 1), forms_of(model, 9)
    back = from_table(to_table(one))
    assert back.keys() == one.keys() == two.keys()
    for key, form in one.items():
        for name in ("key", "turn"):
            assert torch.equal(getattr(form, name), getattr(two[key], name))
            assert torch.equal(getattr(form, name), getattr(back[key], name))
        assert not torch.equal(form.key, other[key].key)


def test_the_most_damaging_layers_come_first() -> None:
    rows = [
        {"variant": "f+g", "scope": scope, "layer": layer, "loss": loss}
        for scope, layer, loss in [("layer", 0, 2.0), ("layer", 1, 5.0), ("layer", 2, 2.0), ("all", None, 9.0)]
    ]
    assert most_damaging(rows, "f+g") == [1, 0, 2]


def test_a_model_that_its_own_logits_change_is_refused(monkeypatch) -> None:
    model = build("llama")
    forms = forms_of(model)
    monkeypatch.setattr(Call, "logits", lambda call: torch.zeros(*call.query.shape[:3], call.query.shape[2]))
    with pytest.raises(UserError, match="own logits, put back, move its loss") as caught:
        surgery_rows(model, forms)
    assert "\n" not in str(caught.value)


# The sequences it is calibrated on


def tokens_table(lengths: list[int]) -> pa.Table:
    rows = [
        {"document": n, "length": n_tokens, "tokens": list(range(n_tokens)), "texts": ["x"] * n_tokens}
        for n, n_tokens in enumerate(lengths)
    ]
    return pa.Table.from_pylist(rows, schema=TOKENS)


BOS = Prefix([1], ["<s>"])


def windows(table: pa.Table) -> list[tuple[int, int]]:
    return list(zip(table["document"].to_pylist(), table["offset"].to_pylist(), strict=True))


def test_calibration_reads_other_documents_as_long_as_there_are_some() -> None:
    tokens = tokens_table([40] * 6)
    measured = sample_sequences(tokens, BOS, 11, 1, range(4), 0)
    beyond = sample_beyond(tokens, BOS, 11, 4, 5, 0)
    assert beyond["sequence"].to_pylist() == [4, 5, 6, 7, 8]
    assert not set(measured["document"].to_pylist()) & set(beyond["document"].to_pylist()[:2])
    every = [(document, offset + n) for document, offset in windows(measured) + windows(beyond) for n in range(10)]
    assert len(set(every)) == len(every)
    assert windows(sample_beyond(tokens, BOS, 11, 4, 2, 0)) == windows(beyond)[:2]


def test_too_small_a_corpus_for_calibration_is_refused() -> None:
    with pytest.raises(UserError, match="selection, 9 together, are too many: the corpus holds 12") as caught:
        sample_beyond(tokens_table([20] * 6), Prefix([], []), 10, 4, 9, 0)
    assert "\n" not in str(caught.value)


# The table


def test_the_table_is_the_means_over_sequences_by_loss(tmp_path) -> None:
    model = build("llama")
    rows = run_surgery(
        model,
        probe_layouts(model),
        draw(3, 2),
        [5, 6, 7],
        (draw(2, 3), [20, 21]),
        forms_of(model),
        batch_tokens=2 * LENGTH,
        stepwise=["f+g"],
        step_sequences=1,
        heads_of_layers=0,
    )
    file = tmp_path / "surgery" / "model=tiny" / "surgery.parquet"
    parquet.write_parquet(file, rows, SURGERY, {})
    table = by_variant([file], ["tiny"], 200, 0)
    assert {row["variant"] for row in table} == set(VARIANTS)
    assert [row["loss"] for row in table] == sorted(row["loss"] for row in table)
    for row in table:
        own = [other for other in rows.to_pylist() if (other["variant"], other["scope"]) == (row["variant"], "all")]
        assert row["sequences"] == len(own) == 3
        assert np.isnan(row["loss_low"]) and np.isnan(row["loss_high"])  # of three sequences
        for name in ("loss", "perplexity", "agreement", "kl"):
            assert row[name] == pytest.approx(np.mean([other[name] for other in own]))
        exact = [other["loss"] for other in rows.to_pylist() if other["variant"] == "exact"]
        assert row["added"] == pytest.approx(row["loss"] - np.mean(exact))
        assert row["kind"] == VARIANTS[row["variant"]].kind
    (chosen,) = [row["variant"] for row in table if row["chosen"]]
    assert chosen == least_loss([row for row in rows.to_pylist() if row["scope"] == "selection"])
    (tmp_path / "surgery.csv").write_text(to_csv(table))
    losses = surgery_losses(tmp_path / "surgery.csv", ["tiny"])["tiny"]
    assert losses.added.tolist() == [row["added"] for row in table] and np.isnan(losses.low).all()
    assert losses.chosen == chosen
    assert plot_surgery({"tiny": losses}).axes


@pytest.mark.parametrize("model", ["7", "tiny"])
def test_losses_are_read_with_and_without_intervals(tmp_path, model):
    rows = [
        {"model": model, "variant": variant, "kind": "additive", "chosen": variant == "b"}
        | {"added": 2.0, "added_low": 1.0, "added_high": 3.0}
        for variant in "ab"
    ]
    rows.append(rows[0] | {"variant": "c", "added_low": float("nan"), "added_high": float("nan")})
    (tmp_path / "surgery.csv").write_text(to_csv(rows))
    losses = surgery_losses(tmp_path / "surgery.csv", [model])[model]
    np.testing.assert_array_equal(losses.low, [1, 1, np.nan])
    np.testing.assert_array_equal(losses.high, [3, 3, np.nan])
    assert losses.chosen == "b"
