"""Scoring answers as branches of one pass, against one plain run for each answer."""

import numpy as np
import pytest
import torch

from triaxis.attention.capture import attending
from triaxis.attention.layout import probe_layouts
from triaxis.base.choices import PERTURBATIONS
from triaxis.base.errors import UserError
from triaxis.tasks.branches import ContextDisplacement, Pack, masks, score_answers, within_context
from triaxis.tasks.items import Item
from triaxis.tolerance.displacement import STAYS, displace
from triaxis.tolerance.perturb import scatter

FAMILIES = {
    "llama": {},
    "mistral": {"sliding_window": 6},
    "gpt_neox": {"rotary_pct": 0.25},
    "qwen2": {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    "gemma2": {"head_dim": 16, "sliding_window": 5, "attn_logit_softcapping": 5.0},
    "gemma3_text": {"head_dim": 16, "sliding_window": 5},
    "gpt_oss": {"head_dim": 16, "sliding_window": 5, "num_local_experts": 2, "num_experts_per_tok": 1},
    "smollm3": {"no_rope_layers": [1, 0]},
}
TOLERANCE = 2e-5


def item(seed: int, length: int = 14, answers: tuple[int, ...] = (3, 1, 2, 4)) -> Item:
    """A prompt whose tokens 2 to length - 3 may move, in words of one to three tokens."""
    generator = np.random.default_rng(seed)
    words = np.cumsum(generator.random(length) < 0.7)
    words[:2] = words[-3:] = STAYS
    draw = [generator.integers(3, 128, count).astype(np.int32) for count in (length, *answers)]
    return Item(draw[0], words, range(2, length - 3), draw[1:])


def moved(one: Item, fraction: float = 1.0, seed: int = 0) -> ContextDisplacement:
    return within_context(one, displace(one.units("token"), fraction, 3, (seed,)))


@torch.inference_mode()
def naively(
    model, layouts, one: Item, perturbation: str = "text", displacement: ContextDisplacement | None = None
) -> list:
    """Each answer alone behind the prompt, one run each: the log-probabilities of its tokens, and whether first."""
    found = []
    for answer in one.answers:
        tokens = np.concatenate([one.tokens, answer])
        count, prompt = len(tokens), len(one.tokens)
        own = displacement.grown(count) if displacement else None
        position = torch.arange(count)[None]
        if own is not None and perturbation == "text":
            tokens = tokens[own.order]
        if own is not None and perturbation == "position":
            position = torch.from_numpy(own.new_position)[None]
        ids = torch.from_numpy(tokens).long()[None]
        # A mask of ones: without one, indices that do not rise are read as packed sequences.
        inputs = {
            "input_ids": ids,
            "position_ids": position,
            "attention_mask": torch.ones_like(ids),
            "use_cache": False,
        }
        if own is not None and perturbation == "feature":
            offsets = torch.from_numpy(own.offsets())[None]
            with attending(model, layouts, scatter(lambda offsets=offsets: offsets)):
                logits = model(**inputs).logits[0]
        else:
            logits = model(**inputs).logits[0]
        rows, target = logits[prompt - 1 : -1].log_softmax(-1), torch.from_numpy(answer).long()
        found.append((rows.gather(-1, target[:, None])[:, 0].numpy(), bool((rows.argmax(-1) == target).all())))
    return found


def agree(scored, expected) -> None:
    assert len(scored) == len(expected)
    for one, (log_probabilities, greedy) in zip(scored, expected, strict=True):
        np.testing.assert_allclose(one.log_probabilities, log_probabilities, atol=TOLERANCE)
        assert one.greedy == greedy


@pytest.mark.parametrize("family", FAMILIES)
def test_branches_are_answers_that_each_follow_the_prompt_alone(build_model, family):
    model = build_model(family, **FAMILIES[family])
    layouts = probe_layouts(model)
    items = [item(0), item(1), item(2, 17, (2, 2))]
    for one, scored in zip(items, score_answers(model, layouts, items, batch_tokens=128), strict=True):
        agree(scored, naively(model, layouts, one))


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_perturbed_branches_are_perturbed_runs_of_each_answer(build_model, family, perturbation):
    model = build_model(family, **FAMILIES[family])
    layouts = probe_layouts(model)
    one = item(4)
    displacement = moved(one)
    (scored,) = score_answers(model, layouts, [one], perturbation, [displacement])
    agree(scored, naively(model, layouts, one, perturbation, displacement))
    (plain,) = score_answers(model, layouts, [one])
    assert np.abs(scored[0].log_probabilities - plain[0].log_probabilities).max() > 1e-4


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_a_run_perturbed_by_nothing_is_the_plain_run_to_the_bit(build_model, perturbation):
    model = build_model("llama")
    layouts, items = probe_layouts(model), [item(5), item(6)]
    plain = score_answers(model, layouts, items, batch_tokens=128)
    none = score_answers(model, layouts, items, perturbation, [moved(one, 0.0) for one in items], batch_tokens=128)
    for one, other in zip(plain, none, strict=True):
        for answer, same in zip(one, other, strict=True):
            assert np.array_equal(answer.log_probabilities, same.log_probabilities) and answer.greedy == same.greedy


def test_a_model_that_repeats_gets_the_answers_that_repeat():
    """A toy that always says its last token again, with a known margin."""

    class Echo(torch.nn.Module):
        dtype = torch.float32

        class config:
            model_type = "echo"

            @staticmethod
            def get_text_config():
                return Echo.config

        def get_input_embeddings(self):
            return torch.nn.Embedding(8, 1)

        def forward(self, input_ids, logits_to_keep, **_):
            logits = torch.nn.functional.one_hot(input_ids, 8).float() * 3
            return type("Output", (), {"logits": logits[:, -logits_to_keep:]})

    prompt = np.array([1, 2, 3], np.int32)
    answers = [np.array(answer, np.int32) for answer in ([3, 3], [3, 4], [5], [3])]
    (scored,) = score_answers(Echo(), {}, [Item(prompt, np.full(3, STAYS), range(0), answers)])
    assert [answer.greedy for answer in scored] == [True, False, False, True]
    hit, miss = 3 - np.log(np.exp(3) + 7), -np.log(np.exp(3) + 7)
    expected = [[hit, hit], [hit, miss], [miss], [hit]]
    for answer, logs in zip(scored, expected, strict=True):
        np.testing.assert_allclose(answer.log_probabilities, logs, atol=1e-6)


def test_no_branch_sees_another_and_no_token_its_future():
    pack = Pack.of(np.arange(4, dtype=np.int32), [np.arange(n, dtype=np.int32) for n in (3, 1, 2)])
    assert pack.position.tolist() == [0, 1, 2, 3, 4, 5, 4] and pack.branch.tolist() == [-1] * 4 + [0, 0, 2]

    class Plain:
        dtype = torch.float32

        def get_input_embeddings(self):
            return torch.nn.Embedding(8, 1)

        class config:
            @staticmethod
            def get_text_config():
                return Plain.config

    seen = masks(Plain(), [pack])[0, 0] == 0
    expected = torch.ones(7, 7, dtype=bool).tril()
    expected[6, 4:6] = False
    assert torch.equal(seen, expected)


# What the feature perturbation moves


def test_offsets_touch_what_lies_in_the_context_only():
    one = item(7, 30)
    offsets = moved(one).grown(36).offsets()
    inside = np.isin(np.arange(36), one.context)
    assert not offsets[np.ix_(~inside, ~inside)].any() and not offsets.diagonal().any()
    assert offsets[np.ix_(inside, inside)].any()
    assert offsets[-6:, inside].any() and offsets[np.ix_(inside, np.arange(36) < 2)].any()


def test_offsets_are_drawn_from_the_shifts_and_keep_as_the_text_grows():
    one = item(8, 40)
    displacement = moved(one)
    shifts = set(displacement.shift[one.context.start : one.context.stop].tolist())
    offsets = displacement.grown(50).offsets()
    assert set((-offsets[-12:, one.context.start : one.context.stop]).ravel().tolist()) <= shifts
    assert np.array_equal(offsets[:45, :45], displacement.grown(45).offsets())
    differences = {a - b for a in shifts for b in shifts}
    assert set(offsets[2:37, 2:37].ravel().tolist()) <= differences


def test_layers_with_another_view_are_refused(build_model):
    model = build_model("llama")
    model.config.layer_types = ["full_attention", "chunked_attention"]
    with pytest.raises(
        UserError, match="'llama' has layers of type 'chunked_attention', for which tasks build no mask"
    ):
        score_answers(model, {}, [item(0)])


def test_a_table_that_changes_with_the_largest_position_is_refused_but_for_text(build_model):
    model = build_model("llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0})
    with pytest.raises(UserError, match="position table of type 'dynamic'"):
        score_answers(model, {}, [item(0)], "position")
    assert score_answers(model, {}, [item(0)])
