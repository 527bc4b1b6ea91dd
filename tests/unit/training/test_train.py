"""A training that is killed goes on and ends as if it had not been; the steps that are kept change nothing."""

import json
import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from small_llama import SMALL_LLAMA
from triaxis.base.errors import UserError
from triaxis.training.architecture import make_config, make_model
from triaxis.training.train import curve_of, cut_windows, last_checkpoint, require_windows, save_checkpoint, train_model
from triaxis.training.vocabulary import make_tokenizer

SIZES = SMALL_LLAMA | {"attention_dropout": 0.1}  # so that random states have to be restored
OPTIONS = {
    "length": 16,
    "batch": 3,
    "accumulate": 2,
    "steps": 20,
    "learning_rate": 1e-2,
    "warmup": 2,
    "weight_decay": 0.1,
    "dtype": "float32",
}
STEPS = [0, 7, 13, 20]


class KillAt(TrainerCallback):
    """Kills the process at the end of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def train(scratch: Path, steps: list[int], kill: int | None = None, **changes) -> list[dict]:
    """Train a tiny model, on windows that fill an epoch of 8 steps, and return its curve."""
    torch.set_num_threads(1)
    tokens = np.random.default_rng(0).integers(0, 64, (60, 16))
    return train_model(
        make_model(make_config(SIZES, 16, 256), 3),
        tokens[:48],
        tokens[48:],
        OPTIONS | changes,
        steps,
        3,
        scratch,
        cpu=True,
        save=partial(save_checkpoint, tokenizer=make_tokenizer([], None)),
        callbacks=[] if kill is None else [KillAt(kill)],
    )


def killed(scratch: Path, steps: list[int], kill: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=train, args=(scratch, steps, kill))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def weights(scratch: Path) -> dict[str, dict]:
    return {path.parent.name: load_file(path) for path in scratch.glob("step-*/model.safetensors")}


def assert_equal(first: dict[str, dict], second: dict[str, dict]) -> None:
    assert first.keys() == second.keys()
    for step, own in first.items():
        assert all(torch.equal(tensor, second[step][name]) for name, tensor in own.items()), step


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, list[dict]]:
    scratch = tmp_path_factory.mktemp("undisturbed")
    return scratch, train(scratch, STEPS)


def test_a_training_that_is_killed_ends_with_the_weights_of_one_that_was_not(undisturbed, tmp_path):
    """Killed between two of its checkpoints, once before and once after a step that is kept."""
    scratch, curve = undisturbed
    for kill in (7, 15):
        killed(tmp_path, STEPS, kill)
        left = last_checkpoint(tmp_path)
        assert left is not None and 0 < int(left.name.rpartition("-")[2]) < kill
    again = train(tmp_path, STEPS)
    assert_equal(weights(scratch), weights(tmp_path))
    assert again == curve


def test_a_training_that_is_killed_at_its_end_has_nothing_left_to_train(undisturbed, tmp_path):
    scratch, curve = undisturbed
    assert train(tmp_path, STEPS) == curve
    assert last_checkpoint(tmp_path).name == "checkpoint-20"
    assert train(tmp_path, STEPS) == curve
    assert_equal(weights(scratch), weights(tmp_path))


def test_steps_that_are_added_do_not_change_the_others(undisturbed, tmp_path):
    scratch, _ = undisturbed
    train(tmp_path, [20, 3, *STEPS[:-1]])
    found = weights(tmp_path)
    found.pop("step-3")
    assert_equal(weights(scratch), found)


def test_the_model_learns_what_it_is_shown_and_step_0_is_where_it_began(undisturbed):
    scratch, curve = undisturbed
    trained = [row["loss"] for row in curve if row["text"] == "training"]
    assert trained[-1] < trained[0] - 0.3
    assert [row["step"] for row in curve if row["text"] == "held out"] == STEPS
    first = make_model(make_config(SIZES, 16, 256), 3)
    assert torch.equal(weights(scratch)["step-0"]["lm_head.weight"], first.lm_head.weight)


def test_seeds_part_and_bfloat16_is_another_arithmetic(undisturbed, tmp_path):
    scratch, _ = undisturbed
    train(tmp_path, [20], dtype="bfloat16")
    (found,) = weights(tmp_path).values()
    assert found["lm_head.weight"].dtype == torch.float32
    assert not torch.equal(found["lm_head.weight"], weights(scratch)["step-20"]["lm_head.weight"])


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    for step, state in ((4, '{"global_step": 4}'), (9, '{"global_st')):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}/trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-12").mkdir()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-4"
    assert last_checkpoint(tmp_path / "none") is None


def test_windows_are_of_one_document_each_and_do_not_overlap():
    windows = cut_windows([list(range(10)), [1, 2], list(range(20, 27))], 4)
    assert windows.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [20, 21, 22, 23]]
    assert cut_windows([[1]], 4).shape == (0, 4)


def test_too_few_tokens_are_refused():
    require_windows(np.zeros((6, 16), np.int64), OPTIONS)
    with pytest.raises(UserError, match=r"hold 5 windows of training\.length 16, fewer than the 6 of one step"):
        require_windows(np.zeros((5, 16), np.int64), OPTIONS)


def test_the_curve_holds_no_times():
    log = [{"step": 2, "loss": 1.5, "epoch": 0.1}, {"step": 0, "heldout_loss": 3.0}, {"step": 9, "train_runtime": 8.0}]
    rows = curve_of(log)
    assert rows == [{"step": 0, "text": "held out", "loss": 3.0}, {"step": 2, "text": "training", "loss": 1.5}]
    assert "runtime" not in json.dumps(rows)
