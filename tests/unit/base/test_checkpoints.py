"""Series of checkpoints: which models a configuration measures, and what their names say."""

import pytest

from triaxis.base import names
from triaxis.base.checkpoints import Measured, measured_models, with_weights
from triaxis.base.config import resolve

TRAINING = {"architecture": {"model_type": "llama"}, "steps": 20}
MODELS = {
    "plain": {"source": "path:a"},
    "alone": {"source": "path:a {b}", "random_control": False},
    "hub": {"source": "hub:o/n@step{step}", "steps": [512, 0], "random_control": True, "random_seed": 3},
    "small": {"source": "train:", "training": TRAINING, "steps": [0, 20], "seeds": [1, 0]},
    "one": {"source": "train:", "training": TRAINING, "steps": [20]},
}


@pytest.fixture
def models() -> dict:
    return resolve({"models": MODELS, "corpus": {"source": "path:corpus.txt"}})["models"]


def test_a_series_is_a_model_a_step_in_the_order_of_steps_with_one_control(models):
    found = measured_models(models)
    assert list(found) == [
        *("plain", "plain-random", "alone", "hub.step0", "hub.step512", "hub-random"),
        *("small.seed1.step0", "small.seed1.step20", "small.seed0.step0", "small.seed0.step20", "one.step20"),
    ]
    assert found["plain-random"] == Measured("plain", 0)
    assert found["hub-random"] == Measured("hub.step0", 3)
    assert found["hub.step512"] == Measured("hub.step512", None)


def test_each_step_has_the_source_of_that_step(models):
    sources = {name: entry["source"] for name, entry in with_weights(models).items()}
    assert sources["hub.step512"] == "hub:o/n@step512" and sources["hub.step0"] == "hub:o/n@step0"
    assert sources["alone"] == "path:a {b}"
    assert sources["small.seed1.step20"] == "train:small.seed1.step20" and sources["one.step20"] == "train:one.step20"
    assert set(sources) == {name for name, own in measured_models(models).items() if own.random_seed is None}


def test_a_step_that_is_added_changes_no_other(models):
    before = with_weights(models)
    models["hub"]["steps"] = [512, 0, 4000]
    after = with_weights(models)
    added = after.pop("hub.step4000")
    assert added["source"] == "hub:o/n@step4000" and after.keys() == before.keys()
    assert {name: entry["source"] for name, entry in after.items()} == {
        name: entry["source"] for name, entry in before.items()
    }


@pytest.mark.parametrize(
    ("model", "entry", "series", "step", "weights"),
    [
        ("a", "a", None, None, "trained"),
        ("a-random", "a", None, None, "random"),
        ("a.step0", "a", "a", 0, "initial"),
        ("a.step512", "a", "a", 512, "trained"),
        ("a.seed2.step512", "a", "a.seed2", 512, "trained"),
        ("llama-3.2-3b.step1", "llama-3.2-3b", "llama-3.2-3b", 1, "trained"),
        ("a.step", "a.step", None, None, "trained"),
        ("2024", "2024", None, None, "trained"),
    ],
)
def test_a_name_says_what_a_model_is(model, entry, series, step, weights):
    assert names.entry_of(model) == entry
    assert names.series_of(model) == series and names.step_of(model) == step
    assert names.control_of(model) == ("a-random-random" if model == "a-random" else f"{entry}-random")
    assert names.weights_of(model) == weights
    if series is not None:
        assert names.checkpoint_of(series, step) == model
