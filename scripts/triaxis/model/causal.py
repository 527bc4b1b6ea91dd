"""Whether a model is causal: what no configuration is trusted to say."""

from typing import Any

import torch
from transformers import PreTrainedModel

from triaxis.base.errors import UserError
from triaxis.model.inputs import input_device

LENGTH = 8


@torch.inference_mode()
def require_causal(model: PreTrainedModel) -> None:
    """Raise UserError if other tokens in the second half of a short text move an output of its first half."""
    embedding: Any = model.get_input_embeddings()
    ids = torch.arange(2 * LENGTH, device=input_device(model)).reshape(2, LENGTH) * 7 % embedding.num_embeddings
    ids[1, : LENGTH // 2] = ids[0, : LENGTH // 2]
    first, second = model.base_model(input_ids=ids, use_cache=False)[0][:, : LENGTH // 2].float()
    moved = (first - second).abs().mean() / first.abs().mean()
    # Experts are batched by how many tokens each has, so that rounding differs; what is NaN shows nothing here.
    if moved > max(1e-4, 8 * torch.finfo(model.dtype).eps):
        raise UserError(
            f"a model of type '{model.config.model_type}' is not causal (a later token moves an earlier output): "
            "Triaxis takes causal language models"
        )
