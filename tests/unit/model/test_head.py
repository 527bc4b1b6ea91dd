"""Next-token predictions against the model's own, and how two runs compare against their definitions."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from triaxis.model import head

LENGTH = 20
FAMILIES = {
    "llama": {},
    "gemma2": {"head_dim": 16, "final_logit_softcapping": 3.0},
    "gpt_neox": {},
    "cohere": {"logit_scale": 0.3},
    "granite": {"logits_scaling": 4.0},
    "mixtral": {"num_local_experts": 2},
}


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def draw(count: int, length: int = LENGTH) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(3, 128, (count, length)))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_alone_makes_the_models_predictions_of_its_last_states(build_model, family: str) -> None:
    """Softcaps and scalings of the predictions are the head's."""
    model, ids = build_model(family, **FAMILIES[family]), draw(3)
    last = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    assert torch.equal(head.predict(model, last), model(input_ids=ids, use_cache=False).logits)
    assert "forward" not in vars(model.base_model)


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_piece_by_piece_are_those_of_the_whole_model(build_model, family: str, monkeypatch) -> None:
    monkeypatch.setattr(head, "CHUNK", 8)  # the last piece is shorter
    model, ids = build_model(family, **FAMILIES[family]), draw(1)
    last = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    own = model(input_ids=ids, use_cache=False).logits[0, :-1]
    expected = torch.nn.functional.cross_entropy(own, ids[0, 1:], reduction="none")
    torch.testing.assert_close(head.next_losses(model, last[0], ids[0]), expected, rtol=0, atol=1e-5)


def test_runs_compare_as_they_are_defined() -> None:
    plain, other = (3 * torch.randn(2, 5, 11, generator=torch.Generator().manual_seed(0))).double()
    tokens = torch.arange(5)
    p, q = (x.exp() / x.exp().sum(-1, keepdim=True) for x in (plain, other))
    predictions, logs = head.PlainPredictions(plain), head.log_probabilities(other)
    torch.testing.assert_close(logs.double(), q.log(), rtol=0, atol=1e-5)
    torch.testing.assert_close(head.losses_of(logs, tokens).double(), -q[tokens, tokens].log(), rtol=0, atol=1e-5)
    torch.testing.assert_close(predictions.kl(logs).double(), (p * (p / q).log()).sum(-1), rtol=0, atol=1e-5)
    assert predictions.agreement(logs).tolist() == (p.argmax(-1) == q.argmax(-1)).tolist()
    same = head.log_probabilities(plain)
    assert predictions.agreement(same).all() and not predictions.kl(same).any()
