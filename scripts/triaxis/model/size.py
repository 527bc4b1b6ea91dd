"""How large a model is, from its configuration alone: no weight is loaded or made."""

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig


def parameters_of(config: PreTrainedConfig) -> int:
    """The number of a model's parameters; weights that two modules share count once."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return sum(weight.numel() for weight in model.parameters())
