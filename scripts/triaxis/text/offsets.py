"""Which characters of a text each of its tokens has."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triaxis.base.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode(tokenizer: "PreTrainedTokenizerBase", text: str) -> tuple[list[int], NDArray[np.int64]]:
    """The tokens of `text`, without special ones, and (tokens, 2) the first character of each and its end.

    Raises UserError for a tokenizer that does not say which characters a token has.
    """
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer in {tokenizer.name_or_path} ({type(tokenizer).__name__}) does not say which characters a "
            "token has, so words cannot be swapped: convert it to a tokenizer.json (a fast tokenizer)"
        )
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return encoded["input_ids"], np.array(encoded["offset_mapping"], np.int64).reshape(-1, 2)
