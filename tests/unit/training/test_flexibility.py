"""What displaced words and length cost: the losses of the texts that a model is said to have read."""

import numpy as np
import pytest
import torch

from triaxis.tolerance.displacement import displace, token_units
from triaxis.training.flexibility import displaced_losses, long_losses, to_table

T = 12


@pytest.fixture
def model(build_model):
    return build_model("llama")


def tokens(model, length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, model.config.vocab_size, (2, length), dtype=np.int32)


def losses(model, read: np.ndarray) -> np.ndarray:
    """(length - 1,): the loss of each token but the first, as transformers' own predictions give it."""
    ids = torch.from_numpy(read).long()
    with torch.no_grad():
        logits = model(input_ids=ids[None]).logits[0]
    return torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none").numpy()


def test_a_displaced_text_is_read_in_its_new_order(model):
    read = tokens(model, 30)
    moved = {number: displace(token_units(30, 0), 0.3, 5, (0, number)) for number in (4, 5)}
    assert all(each.shift.any() for each in moved.values())
    rows = {(row["sequence"], row["text"]): row for row in displaced_losses(model, read, [4, 5], moved)}
    for number, own in zip((4, 5), read, strict=True):
        displaced = np.empty_like(own)
        displaced[moved[number].new_position] = own
        for text, order in (("as written", own), ("displaced", displaced)):
            row = rows[number, text]
            assert row["loss"] == pytest.approx(losses(model, order).mean(), rel=1e-5)
            assert (row["first"], row["tokens"]) == (1, 29)
    assert len(to_table(list(rows.values()))) == 4


def test_a_long_text_is_read_once_within_the_training_length_and_past_it(model):
    read = tokens(model, 4 * T + 3)
    rows = {(row["sequence"], row["first"]): row for row in long_losses(model, read, T)}
    assert set(rows) == {(number, first) for number in (0, 1) for first in (1, 2 * T)}
    for number, own in enumerate(read):
        whole = losses(model, own[: 4 * T])  # of the tokens at positions 1 to 4 T - 1
        assert rows[number, 1]["loss"] == pytest.approx(whole[: T - 1].mean(), rel=1e-5)
        assert rows[number, 2 * T]["loss"] == pytest.approx(whole[2 * T - 1 :].mean(), rel=1e-5)
        assert rows[number, 1]["tokens"] == T - 1 and rows[number, 2 * T]["tokens"] == 2 * T


def test_a_text_that_ends_before_has_no_row(model):
    assert not list(long_losses(model, tokens(model, 4 * T - 1), T))
