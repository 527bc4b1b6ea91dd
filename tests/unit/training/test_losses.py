"""The losses of a checkpoint are those of transformers."""

import numpy as np
import pytest
import torch

from triaxis.training.losses import token_losses
from triaxis.training.train import mean_loss


def test_each_token_costs_what_the_models_own_loss_says(build_model):
    model = build_model("llama")
    tokens = np.random.default_rng(0).integers(0, model.config.vocab_size, (3, 20), dtype=np.int32)
    tables = list(token_losses(model, tokens, [4, 5, 6]))
    ids = torch.from_numpy(tokens).long()
    for own, table, number in zip(ids, tables, (4, 5, 6), strict=True):
        assert set(table["sequence"].to_pylist()) == {number}
        assert table["position"].to_pylist() == list(range(1, 20))
        assert np.mean(table["loss"]) == pytest.approx(
            model(input_ids=own[None], labels=own[None]).loss.item(), rel=1e-5
        )
    whole = model(input_ids=ids, labels=ids).loss.item()
    assert mean_loss(model, ids.numpy(), batch=2) == pytest.approx(whole, rel=1e-5)
