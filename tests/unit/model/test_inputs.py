"""What a forward pass is given: how many sequences at once, and where its token ids go."""

import accelerate
import numpy as np
import pytest
import torch

from triaxis.attention.layout import probe_layouts
from triaxis.logits.extract import extract_features
from triaxis.model.causal import require_causal
from triaxis.model.inputs import input_device, passes, per_pass, token_ids


@pytest.mark.parametrize(
    ("batch_tokens", "length", "expected"),
    [(1, 16, 1), (16, 16, 1), (31, 16, 1), (32, 16, 2), (1024, 256, 4), (1024, 8192, 1)],
)
def test_a_pass_takes_the_sequences_that_its_tokens_hold_and_at_least_one(batch_tokens, length, expected):
    assert per_pass(batch_tokens, length) == expected


@pytest.mark.parametrize("batch_tokens", [1, 24, 36, 59, 60, 1000])
def test_passes_take_each_sequence_once_in_order(batch_tokens):
    tokens = np.arange(60).reshape(5, 12)
    parts = [tokens[part] for part in passes(tokens, batch_tokens)]
    np.testing.assert_array_equal(np.concatenate(parts), tokens)
    assert all(part.size <= max(batch_tokens, 12) for part in parts)
    assert not [*passes(tokens[:0], batch_tokens)]


def test_ids_go_to_the_embedding(build_model):
    model, tokens = build_model("llama"), np.arange(24, dtype=np.int32).reshape(2, 12)
    ids = token_ids(model, tokens)
    assert input_device(model) == ids.device == torch.device("cpu") and ids.dtype == torch.int64
    np.testing.assert_array_equal(ids, tokens)


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_whose_embedding_is_off_the_device_gives_the_same_features(build_model, tied):
    """As `spread` leaves an embedding for which a GPU has no room: its weight is on 'meta' until it runs."""
    tokens, models = np.arange(3, 39, dtype=np.int32).reshape(3, 12), []
    for offloaded in (False, True):
        model = build_model("llama", tie_word_embeddings=tied)
        if offloaded:
            accelerate.cpu_offload(model, torch.device("cpu"))
            assert model.device.type == "meta" and input_device(model) == torch.device("cpu")
        require_causal(model)
        found = []
        extract_features(
            *(model, probe_layouts(model), tokens, range(3), None),
            batch_tokens=24,
            tolerance=1e-5,
            write=lambda layer, found=found: found.append(layer),
        )
        models.append(found)
    for own, other in zip(*models, strict=True):
        np.testing.assert_array_equal(own.query, other.query)
        np.testing.assert_array_equal(own.key, other.key)
