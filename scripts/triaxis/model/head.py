"""Next-token predictions from last hidden states: the model's head alone."""

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import MoeModelOutputWithPast

from triaxis.model.answering import answering


def predict(model: PreTrainedModel, last: torch.Tensor) -> torch.Tensor:
    """Last hidden states (batch, length, size) -> the model's logits (batch, length, vocabulary): its head alone."""
    # The output of a mixture of experts, which has what any head reads.
    with answering([(model.base_model, MoeModelOutputWithPast(last_hidden_state=last))]):
        return model(input_ids=torch.zeros(last.shape[:2], dtype=torch.long, device=last.device)).logits
