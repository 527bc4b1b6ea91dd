"""Train a language model on documents, with transformers' Trainer, and keep its weights at given steps.

A training that was killed goes on from its last whole checkpoint and ends with the weights of one that was not, on
the same machine: Trainer restores the optimizer, the learning rate, the order of the data and all random states, and
whatever is logged since a checkpoint is made again.
"""

import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.utils.logging import disable_progress_bar

from triaxis.base.errors import UserError

# How often the training loss is logged, and how often what a killed training goes on from is saved.
LOGGED, SAVED = 100, 10
# Held-out windows whose loss is measured, evenly spaced, at each step that is kept.
EVALUATED = 256
STATE = "trainer_state.json"


class Windows(Dataset):
    """Training windows (n, length) as Trainer takes them."""

    def __init__(self, tokens: NDArray[np.int64]) -> None:
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        window = torch.from_numpy(self.tokens[number])
        return {"input_ids": window, "labels": window}


def cut_windows(documents: Iterable[Sequence[int]], length: int) -> NDArray[np.int64]:
    """(n, length): each document's tokens from its first on, in windows that do not overlap; what is left of a document
    is dropped, so that no window holds two."""
    cut = [
        np.array(tokens[: len(tokens) // length * length], dtype=np.int64).reshape(-1, length) for tokens in documents
    ]
    return np.concatenate([*cut, np.empty((0, length), dtype=np.int64)])


def require_windows(windows: NDArray[np.int64], options: Mapping[str, Any]) -> None:
    """Raise UserError if the training windows are fewer than one step takes."""
    wanted = options["batch"] * options["accumulate"]
    if len(windows) < wanted:
        raise UserError(
            f"the training documents hold {len(windows)} windows of training.length {options['length']}, fewer than "
            f"the {wanted} of one step (training.batch times training.accumulate): give more text, or lower one of them"
        )


@torch.no_grad()
def mean_loss(model: PreTrainedModel, windows: NDArray[np.int64], batch: int) -> float:
    """The loss of all tokens of `windows` (n, length) but the first of each, nats a token."""
    training = model.training
    model.eval()
    total = 0.0
    for own in torch.from_numpy(windows).split(batch):
        ids = own.to(model.device)
        predictions = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
        total += cross_entropy(predictions.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum").double().item()
    model.train(training)
    return total / max(1, windows[:, 1:].size)


def save_checkpoint(model: PreTrainedModel, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write a model and its tokenizer as any other model is published."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class KeepSteps(TrainerCallback):
    """Writes the model at each of `steps`, and adds the held-out loss there to Trainer's own log."""

    def __init__(self, steps: Sequence[int], keep: Callable[[int, PreTrainedModel], float]) -> None:
        self.steps, self.keep = set(steps), keep

    def on_train_begin(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
        if state.global_step == 0:
            self._keep(state, model)

    def on_step_end(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
        self._keep(state, model)

    def _keep(self, state: Any, model: PreTrainedModel) -> None:
        if state.global_step in self.steps:
            state.log_history.append({"step": state.global_step, "heldout_loss": self.keep(state.global_step, model)})


class Progress(TrainerCallback):
    """The steps done, as other long jobs show theirs."""

    def on_train_begin(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", desc="train", mininterval=5)

    def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        self.bar.update()

    def on_train_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        self.bar.close()


def train_model(
    model: PreTrainedModel,
    training: NDArray[np.int64],
    held_out: NDArray[np.int64],
    options: Mapping[str, Any],
    steps: Sequence[int],
    seed: int,
    scratch: Path,
    *,
    cpu: bool,
    save: Callable[[PreTrainedModel, Path], None],
    callbacks: Sequence[TrainerCallback] = (),
) -> list[dict[str, Any]]:
    """Train `model` on windows (n, length) and write its weights at `steps` to scratch / step-N, by `save`.

    options: the section `training` of the configuration. scratch: a folder of this training alone, where a killed one
    left its checkpoints, if it was; they are kept until the caller removes them. Returns the rows of curves/.
    """
    shown = held_out[np.unique(np.linspace(0, len(held_out) - 1, min(EVALUATED, len(held_out))).astype(int))]

    def keep(step: int, own: PreTrainedModel) -> float:
        folder, part = scratch / f"step-{step}", scratch / f".step-{step}.part"
        shutil.rmtree(part, ignore_errors=True)
        save(own, part)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
        return mean_loss(own, shown, options["batch"])

    disable_progress_bar()  # one for each file that is saved
    logged = max(1, options["steps"] // LOGGED)
    arguments = TrainingArguments(
        output_dir=str(scratch),
        max_steps=options["steps"],
        per_device_train_batch_size=options["batch"],
        gradient_accumulation_steps=options["accumulate"],
        learning_rate=options["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=options["warmup"],
        weight_decay=options["weight_decay"],
        bf16=options["dtype"] == "bfloat16",
        use_cpu=cpu,
        seed=seed,
        full_determinism=True,
        logging_steps=logged,
        # At a step that is logged, so that no mean of the log is cut in two.
        save_steps=logged * math.ceil(options["steps"] / SAVED / logged),
        save_total_limit=2,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        report_to="none",
        disable_tqdm=True,
    )
    left = last_checkpoint(scratch)
    if left is not None and left.name == f"checkpoint-{options['steps']}":
        # Killed after its last step: Trainer would take one more.
        return curve_of(json.loads((left / STATE).read_text())["log_history"])
    trainer = Trainer(
        model, arguments, train_dataset=Windows(training), callbacks=[KeepSteps(steps, keep), Progress(), *callbacks]
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=None if left is None else str(left))
    return curve_of(trainer.state.log_history)


def last_checkpoint(scratch: Path) -> Path | None:
    """The last whole checkpoint of a training that was killed, if there is one: Trainer writes its state last."""
    found = {int(file.parent.name.split("-")[1]): file for file in scratch.glob(f"checkpoint-*/{STATE}")}
    for step in sorted(found, reverse=True):
        try:
            json.loads(found[step].read_text())
        except ValueError:
            continue
        return found[step].parent
    return None


def curve_of(log: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of curves/ from Trainer's log, without its times."""
    texts = {"loss": "training", "heldout_loss": "held out"}
    rows = [
        {"step": entry["step"], "text": text, "loss": float(entry[name])}
        for name, text in texts.items()
        for entry in log
        if name in entry
    ]
    return sorted(rows, key=lambda row: (row["text"], row["step"]))
