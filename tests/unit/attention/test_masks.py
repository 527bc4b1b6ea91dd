"""Attention in chunks: the masks of the chunks are those of transformers, and what a model makes of them is its own."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.masking_utils import (
    causal_mask_function,
    chunked_causal_mask_function,
    eager_mask,
    flash_attention_mask,
    sdpa_mask,
    sliding_window_causal_mask_function,
)

from triaxis.attention import masks
from triaxis.attention.capture import attending
from triaxis.attention.layout import probe_layouts
from triaxis.attention.masks import LongMask, in_parts
from triaxis.logits.extract import extract_features
from unit.families import ROTARY

LENGTH = 24


@pytest.fixture(autouse=True)
def few_cells(monkeypatch):
    monkeypatch.setattr(masks, "CELLS", 64)


def tokens(length: int = LENGTH, sequences: int = 2) -> torch.Tensor:
    return torch.randint(3, 128, (sequences, length), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def run(model, ids: torch.Tensor) -> torch.Tensor:
    return model.base_model(input_ids=ids, use_cache=False).last_hidden_state


@torch.inference_mode()
def captured(model, ids: torch.Tensor):
    """The last hidden state, and layer -> the query and key before rotation."""
    seen = {}

    def attend(call):
        seen[call.layer] = call.query, call.key
        return call.plain()

    with attending(model, probe_layouts(model), attend):
        return run(model, ids), seen


# The model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ROTARY)
def test_in_chunks_each_family_is_what_it_is_at_once_but_for_rounding(build_model, monkeypatch, name, dtype):
    family, settings, *_ = ROTARY[name]
    model = build_model(family, **settings).to(dtype)
    plain = run(model, tokens())
    chunked, seen = captured(model, tokens())
    monkeypatch.setattr(masks, "CELLS", LENGTH**2)
    whole, expected = captured(model, tokens())
    assert torch.equal(whole, plain)
    limit = 16 * torch.finfo(dtype).eps
    torch.testing.assert_close(chunked, plain, rtol=0, atol=limit * float(plain.abs().max()))
    for layer, vectors in expected.items():
        for own, other in zip(seen[layer], vectors, strict=True):
            torch.testing.assert_close(own, other, rtol=0, atol=limit * float(other.abs().max()))


@pytest.mark.parametrize("name", ["Llama 2", "Phi-1, Phi-2", "Granite"])
def test_a_causal_layer_of_sdpa_is_never_cut(build_model, name):
    family, settings, *_ = ROTARY[name]
    model = build_model(family, **settings)
    assert torch.equal(captured(model, tokens())[0], run(model, tokens()))


def test_a_window_longer_than_the_text_is_causal(build_model):
    model = build_model("mistral", sliding_window=LENGTH + 1)
    assert torch.equal(captured(model, tokens())[0], run(model, tokens()))


@pytest.mark.parametrize("name", ["Mistral", "Gemma 2", "GPT-OSS", "DeepSeek-V3"])
@torch.inference_mode()
def test_logits_that_are_put_back_are_the_models_own(build_model, name):
    """Unit keys and unit values have the size of the text: nothing of them is left to SDPA's causal path."""
    family, settings, *_ = ROTARY[name]
    model, ids = build_model(family, **settings), tokens()
    layouts, plain = probe_layouts(model), run(model, ids)

    def attend(call):
        output, _ = call.plain()
        shared = call.value.repeat_interleave(call.query.shape[1] // call.value.shape[1], dim=1)
        weighted = (call.weights() @ shared).transpose(1, 2)
        torch.testing.assert_close(weighted, output, rtol=0, atol=1e-5)
        return call.with_logits(call.logits())

    with attending(model, layouts, attend):
        torch.testing.assert_close(run(model, ids), plain, rtol=0, atol=2e-5 * float(plain.abs().max()))


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        sizes = [x.untyped_storage().nbytes() // x.element_size() for x in tree_leaves(made) if torch.is_tensor(x)]
        self.size = max([self.size, *sizes])
        return made


@pytest.mark.parametrize("name", ["Llama 2", "Mistral", "Gemma 2", "Gemma 3", "GPT-OSS", "DeepSeek-V3", "SmolLM3"])
def test_what_an_extraction_makes_grows_as_the_text_does(build_model, monkeypatch, name):
    family, settings, *_ = ROTARY[name]
    model = build_model(family, **settings)
    layouts, sizes = probe_layouts(model), []
    monkeypatch.setattr(masks, "CELLS", 2**10)
    for length in (512, 1024):
        ids = tokens(length, 1).int().numpy()
        with Largest() as largest:
            extract_features(
                *(model, layouts, ids, [0], None), batch_tokens=1, tolerance=1e-4, write=lambda layer: None
            )
        sizes.append(largest.size)
    assert 512 * 64 <= sizes[0] < sizes[1] <= 2 * sizes[0]


# The masks


KINDS = {
    "causal": {"mask_function": causal_mask_function},
    "window": {"mask_function": sliding_window_causal_mask_function(5), "local_size": 5},
    "chunks": {"mask_function": chunked_causal_mask_function(7, torch.zeros(2, dtype=torch.long)), "local_size": 7},
    "padding": {
        "mask_function": causal_mask_function,
        "attention_mask": torch.arange(31) >= torch.tensor([[0], [9]]),
    },
}


@pytest.mark.parametrize("cells", [1, 31, 64, 300, 961])
@pytest.mark.parametrize("make", [sdpa_mask, eager_mask], ids=["sdpa", "eager"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_masks_of_the_chunks_are_the_parts_of_the_whole(monkeypatch, kind, make, cells):
    options = {"batch_size": 2, "q_length": 31, "kv_length": 31, "dtype": torch.float32} | KINDS[kind]
    whole = make(**options, allow_is_causal_skip=False)
    seen = sdpa_mask(**options, allow_is_causal_skip=False)
    monkeypatch.setattr(masks, "CELLS", cells)
    mask, covered = LongMask(make, options), torch.zeros(31, 31, dtype=torch.bool)
    assert [n for queries, _ in mask.chunks for n in queries] == [*range(31)]
    for queries, keys in mask.chunks:
        rows, columns = slice(queries.start, queries.stop), slice(keys.start, keys.stop)
        assert len(queries) * len(keys) <= cells or len(queries) == 1
        assert torch.equal(mask.part(queries, keys), whole[:, :, rows, columns])
        covered[rows, columns] = True
    assert not (seen & ~covered).any()


@pytest.mark.parametrize(
    ("change", "causal"),
    [
        ({}, True),
        ({"allow_is_causal_skip": False}, False),
        ({"local_size": 31}, False),
        ({"local_size": 32}, True),
        ({"attention_mask": torch.ones(2, 31, dtype=torch.bool)}, True),
        ({"attention_mask": (torch.arange(31) > 3).expand(2, -1)}, False),
    ],
)
def test_what_transformers_leaves_to_sdpa_is_left_to_it(change, causal):
    options = {"batch_size": 2, "q_length": 31, "kv_length": 31, "allow_is_causal_skip": True} | change
    assert LongMask(sdpa_mask, options).causal == causal == (sdpa_mask(**options) is None)
    assert not LongMask(eager_mask, options).causal


def test_other_implementations_keep_their_masks_and_short_texts_too():
    assert in_parts(flash_attention_mask) is flash_attention_mask
    options = {"batch_size": 1, "mask_function": causal_mask_function, "allow_is_causal_skip": False}
    assert isinstance(in_parts(sdpa_mask)(q_length=8, kv_length=8, **options), torch.Tensor)
    assert isinstance(in_parts(sdpa_mask)(q_length=8, kv_length=9, **options), LongMask)


def test_a_mask_that_is_given_is_taken_as_it_is():
    own = masks.over_chunks(lambda module, query, key, value, mask, **options: (mask, options))
    given = torch.zeros(1, 1, 30, 30)
    assert own(SimpleNamespace(), *[torch.zeros(1, 1, 30, 4)] * 3, given, scaling=0.5) == (given, {"scaling": 0.5})
