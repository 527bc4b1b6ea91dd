"""An architecture is what transformers knows under its name, or one line says what is not."""

import pytest
import torch

from small_llama import SMALL_LLAMA
from triaxis.base.errors import UserError
from triaxis.model.loading import training_length_of
from triaxis.training.architecture import make_config, make_model

GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2}


def test_a_model_has_the_sizes_given_and_the_rest_from_transformers():
    config = make_config(SMALL_LLAMA | {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}, 64, 256)
    assert (config.hidden_size, config.vocab_size, config.rope_parameters["rope_theta"]) == (32, 256, 500.0)
    assert config.bos_token_id is config.eos_token_id is config.pad_token_id is None
    model = make_model(config, 0)
    assert model.dtype == torch.float32 and len(model.model.layers) == 2


@pytest.mark.parametrize("sizes", [SMALL_LLAMA, GPT2])
def test_the_context_is_the_training_length_unless_it_is_given(sizes):
    assert training_length_of(make_config(sizes, 64, 256)) == 64
    assert training_length_of(make_config(sizes | {"max_position_embeddings": 128}, 64, 256)) == 128
    with pytest.raises(UserError, match=r"training\.length is 64, longer than the context, .* 32: lower it"):
        make_config(sizes | {"max_position_embeddings": 32}, 64, 256)


def test_a_context_under_its_own_name_counts():
    with pytest.raises(UserError, match=r"training\.length is 64, longer than .*n_positions 32"):
        make_config(GPT2 | {"n_positions": 32}, 64, 256)


def test_weights_are_those_of_their_seed():
    config = make_config(SMALL_LLAMA, 64, 256)
    first, again, other = (make_model(config, seed).lm_head.weight for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "lama"}, r"training\.architecture\.model_type 'lama' is none that transformers .* llama"),
        ({"model_type": "vit"}, r"training\.architecture\.model_type 'vit' is no causal language model"),
        ({"hiden_size": 32}, r"training\.architecture\.hiden_size is no key .*: did you mean hidden_size\?"),
        ({"vocab_size": 300}, r"training\.architecture\.vocab_size is 300, but the tokenizer has 256 entries"),
        ({"hidden_size": "large"}, r"training\.architecture is refused by transformers: "),
        ({"num_attention_heads": 5}, r"training\.architecture is refused by transformers: .*multiple of .*heads \(5\)"),
        ({"hidden_act": "none"}, r"training\.architecture makes no model: "),
    ],
)
def test_what_makes_no_model_is_one_line(changes, says):
    with pytest.raises(UserError, match=says) as caught:
        make_model(make_config(SMALL_LLAMA | changes, 64, 256), 0)
    assert "\n" not in str(caught.value)


def test_a_model_that_sees_later_tokens_is_not_trained():
    sizes = {key: size for key, size in SMALL_LLAMA.items() if key not in ("model_type", "num_key_value_heads")}
    with pytest.raises(UserError, match="type 'bert' is not causal"):
        make_model(make_config(sizes | {"model_type": "bert"}, 64, 256), 0)
    make_model(make_config(sizes | {"model_type": "bert", "is_decoder": True}, 64, 256), 0)
