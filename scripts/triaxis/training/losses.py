"""What each token of the measured sequences costs a checkpoint."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from triaxis.model.head import next_losses
from triaxis.training.schema import CHECKPOINT_LOSSES


@torch.inference_mode()
def token_losses(model: PreTrainedModel, tokens: NDArray[np.int32], numbers: Sequence[int]) -> Iterator[pa.Table]:
    """The rows of checkpoint_losses/ for tokens (sequences, length), called `numbers`: a table a sequence."""
    embedding = next(model.get_input_embeddings().parameters())
    for number, own in zip(numbers, tokens, strict=True):
        ids = torch.from_numpy(own).long().to(embedding.device)
        last = model.base_model(input_ids=ids[None], use_cache=False)[0][0]
        losses = next_losses(model, last, ids.to(last.device)).float().cpu().numpy()
        positions = np.arange(1, len(own), dtype=np.int32)
        yield pa.table([np.full(len(losses), number, np.int32), positions, losses], schema=CHECKPOINT_LOSSES)
