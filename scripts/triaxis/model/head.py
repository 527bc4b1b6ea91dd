"""Next-token predictions: what a model's head makes of last hidden states, and how two runs' predictions compare.

A prediction is a score for each token of the vocabulary, before softmax. Losses are in nats a token.
"""

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import MoeModelOutputWithPast

from triaxis.model.answering import answering

Tensor = torch.Tensor

CHUNK = 256  # positions whose predictions exist at once: those of a long text would outweigh everything else


def predict(model: PreTrainedModel, last: Tensor) -> Tensor:
    """Last hidden states (batch, length, size) -> predictions (batch, length, vocabulary): the model's head alone."""
    # The output of a mixture of experts, which has what any head reads.
    with answering([(model.base_model, MoeModelOutputWithPast(last_hidden_state=last))]):
        return model(input_ids=torch.zeros(last.shape[:2], dtype=torch.long, device=last.device)).logits


def log_probabilities(predictions: Tensor) -> Tensor:
    """Predictions (..., vocabulary) of any dtype -> log-probabilities, float32, in nats."""
    return predictions.float().log_softmax(-1)


def losses_of(logs: Tensor, tokens: Tensor) -> Tensor:
    """(n,): what each of `tokens` (n,) costs under its row of log-probabilities (n, vocabulary)."""
    return -logs.gather(-1, tokens[:, None])[:, 0]


def next_losses(model: PreTrainedModel, last: Tensor, tokens: Tensor) -> Tensor:
    """(length - 1,): the loss of each of `tokens` (length,) but the first, from last hidden states (length, size)."""
    following = tokens[1:].split(CHUNK)
    return torch.cat(
        [
            losses_of(log_probabilities(predict(model, states[None])[0]), own)
            for states, own in zip(last[:-1].split(CHUNK), following, strict=True)
        ]
    )


class PlainPredictions:
    """The plain run's predictions at n positions, and how those of another run, as log-probabilities, compare."""

    def __init__(self, predictions: Tensor) -> None:
        """predictions (n, vocabulary)."""
        self.logs = log_probabilities(predictions)
        self.probabilities = self.logs.exp()
        self.best = predictions.argmax(-1)

    def agreement(self, logs: Tensor) -> Tensor:
        """(n,): whether both runs find the same token likeliest."""
        return logs.argmax(-1) == self.best

    def kl(self, logs: Tensor) -> Tensor:
        """(n,): KL(plain || other), in nats; rounding may take it below 0."""
        return torch.linalg.vecdot(self.probabilities, self.logs - logs)
