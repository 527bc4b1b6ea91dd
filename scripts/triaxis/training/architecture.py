"""From the sizes that a user gives to a model with fresh weights."""

import difflib
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from triaxis.base.errors import UserError
from triaxis.model.causal import require_causal

KEY = "training.architecture"
# Numbers of tokens that a byte-level vocabulary does not have; transformers' defaults would be some of its bytes.
SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")


def make_config(architecture: Mapping[str, Any], length: int, vocabulary: int) -> PreTrainedConfig:
    """The configuration of a model with the sizes of `architecture`, which reads `length` tokens of `vocabulary`.

    Raises UserError if transformers has no causal language model of that type, or the type no such key.
    """
    sizes: dict[str, Any] = dict(architecture)
    kind = sizes.pop("model_type")
    if kind not in CONFIG_MAPPING:
        near = difflib.get_close_matches(kind, CONFIG_MAPPING.keys(), n=3)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UserError(f"{KEY}.model_type '{kind}' is none that transformers {transformers.__version__} knows{meant}")
    config_class: Any = CONFIG_MAPPING[kind]
    if config_class not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UserError(f"{KEY}.model_type '{kind}' is no causal language model: name one that is, such as llama")
    known = {*config_class().to_dict(), *config_class.attribute_map}
    for name in sizes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f": did you mean {near[0]}?" if near else ""
            raise UserError(f"{KEY}.{name} is no key of a '{kind}' configuration{meant}")
    if sizes.setdefault("vocab_size", vocabulary) != vocabulary:
        raise UserError(
            f"{KEY}.vocab_size is {sizes['vocab_size']}, but the tokenizer has {vocabulary} entries: leave it out"
        )
    try:
        config = config_class(**{**dict.fromkeys(SPECIAL), **sizes})
    except Exception as error:  # each type checks its own sizes, in its own way
        raise UserError(f"{KEY} is refused by transformers: {_in_one_line(error)}") from error
    context = config_class.attribute_map.get("max_position_embeddings", "max_position_embeddings")
    if not {context, "max_position_embeddings"} & set(sizes):
        setattr(config, context, length)
    if length > getattr(config, context):
        raise UserError(
            f"training.length is {length}, longer than the context, {KEY}.{context} {getattr(config, context)}: "
            "lower it"
        )
    return config


def make_model(config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    """A model of `config` with random weights, float32.

    Raises UserError if its sizes do not go together, or if a token of it sees later ones: it would be trained to copy.
    """
    torch.manual_seed(seed)
    try:
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    except Exception as error:  # bare: from the layers that do not fit
        raise UserError(f"{KEY} makes no model: {_in_one_line(error)}") from error
    require_causal(model)
    return model


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
