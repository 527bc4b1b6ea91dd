"""What a checkpoint loses where its text is not as in training: with words displaced, and past its training length.

docs/method/training.md, "Criteria".
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import PreTrainedModel

from triaxis.tolerance.displacement import Displacement
from triaxis.training.losses import token_losses
from triaxis.training.schema import FLEXIBILITY

# The length past training at which a loss is taken, in training lengths, and from where on.
PAST, PAST_FROM = 4, 2


def displaced_losses(
    model: PreTrainedModel,
    tokens: NDArray[np.int32],
    numbers: Sequence[int],
    displacements: Mapping[int, Displacement],
) -> Iterator[dict]:
    """The rows of flexibility/ of tokens (sequences, length), called `numbers`: the loss of each as it is written, and
    of the text that its displacement leaves, each token of which is predicted from those that now stand before it."""
    orders = np.stack([displacements[number].order for number in numbers])
    for text, read in (("as written", tokens), ("displaced", np.take_along_axis(tokens, orders, axis=1))):
        for number, losses in _losses(model, read, numbers, text):
            yield _row(number, text, losses, 1, len(losses) + 1)


def long_losses(model: PreTrainedModel, tokens: NDArray[np.int32], training_length: int) -> Iterator[dict]:
    """The rows of flexibility/ of long tokens (sequences, length): the loss within the training length, and of the
    tokens from PAST_FROM to PAST times of it; nothing if the sequences end before.

    Plain attention reads each once: a token's loss does not depend on those behind it.
    """
    if tokens.shape[1] < PAST * training_length:
        return
    read = tokens[:, : PAST * training_length]
    for number, losses in _losses(model, read, range(len(read)), "long"):
        yield _row(number, "long", losses, 1, training_length)
        yield _row(number, "long", losses, PAST_FROM * training_length, PAST * training_length)


def _losses(
    model: PreTrainedModel, tokens: NDArray[np.int32], numbers: Sequence[int], text: str
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Each sequence's number and the losses (length - 1,) of its tokens but the first."""
    found = tqdm(token_losses(model, tokens, numbers), total=len(tokens), desc=text, unit="sequence", mininterval=5)
    for number, table in zip(numbers, found, strict=True):
        yield number, table["loss"].to_numpy().astype(np.float64)


def _row(number: int, text: str, losses: NDArray[np.float64], first: int, end: int) -> dict:
    own = losses[first - 1 : end - 1]
    return {"sequence": number, "text": text, "first": first, "tokens": len(own), "loss": float(own.mean())}


def to_table(rows: Sequence[dict]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=FLEXIBILITY)
