"""Attention over a long text without a mask of length x length: queries in chunks, each with the mask of its own keys.

The masks of transformers hold a cell for each pair of tokens. Causal layers need none (SDPA knows them); a sliding
window, chunked attention and eager attention do. Here such a mask is made a part at a time, by the function that would
have made the whole, and the model's own attention runs on the queries and keys of that part.
"""

from collections.abc import Callable
from functools import cached_property
from math import isqrt
from typing import Any

import torch
from transformers.masking_utils import eager_mask, sdpa_mask

Tensor = torch.Tensor
Own = Callable[..., tuple[Tensor, Tensor | None]]

# Pairs of tokens at once, a head: a text of at most 1,024 tokens is one chunk, and its attention the model's own, to
# the bit. Of a longer one each sum is taken over fewer masked cells, which changes its rounding and nothing else.
CELLS = 2**20


class LongMask:
    """The mask of a text of more than `CELLS` pairs; models pass it on to their attention like any other.

    make: the mask function of transformers, and options: what the model gave it.
    """

    def __init__(self, make: Callable[..., Any], options: dict[str, Any]) -> None:
        self.make, self.options = make, options

    @property
    def causal(self) -> bool:
        """Whether transformers makes no such mask, and leaves it to SDPA: the same conditions as in `sdpa_mask`."""
        options = self.options
        padding, width = options.get("attention_mask"), options.get("local_size")
        return (
            self.make is sdpa_mask
            and bool(options.get("allow_is_causal_skip"))
            and options["q_length"] == options["kv_length"]
            and (width is None or options["kv_length"] < width)
            and (padding is None or bool(padding.all()))
        )

    def part(self, queries: range, keys: range, make: Callable[..., Any] | None = None) -> Tensor:
        """(batch, 1, queries, keys): the mask of these alone."""
        options = self.options | {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
        options |= {"q_length": len(queries), "q_offset": options.get("q_offset", 0) + queries.start}
        options |= {"kv_length": len(keys), "kv_offset": options.get("kv_offset", 0) + keys.start}
        return (make or self.make)(**options)

    @cached_property
    def chunks(self) -> list[tuple[range, range]]:
        """(queries, the keys that they see) of each chunk, at most `CELLS` cells each; the same for all layers."""
        length, every = self.options["q_length"], range(self.options["kv_length"])
        found, start, count = [], 0, isqrt(CELLS)
        while start < length:
            visible = self.part(range(start, min(start + count, length)), every, sdpa_mask).any((0, 1, 2)).nonzero()
            keys = range(int(visible[0]), int(visible[-1]) + 1)
            count = max(1, min(count, CELLS // len(keys)))
            found.append((range(start, min(start + count, length)), keys))
            start += count
        return found


def in_parts(make: Callable[..., Any]) -> Callable[..., Any]:
    """The mask function `make` of transformers, but that the mask of a long text is a `LongMask`. Functions other than
    those of SDPA and of eager attention make no mask of length x length, and stay as they are."""
    if make not in (sdpa_mask, eager_mask):
        return make

    def mask(**options: Any) -> Any:
        small = options["q_length"] * options["kv_length"] <= CELLS
        return make(**options) if small else LongMask(make, options)

    return mask


def over_chunks(own: Own) -> Own:
    """The attention function `own` of transformers, but that it takes a `LongMask` too. Its output is (batch, length,
    heads, value_dim), and the weights, of a long text None."""

    def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any) -> Any:
        if not isinstance(mask, LongMask):
            return own(module, query, key, value, mask, **options)
        # Where keys and values differ in size, SDPA would hold all logits at once.
        if mask.causal and key.shape[-1] == value.shape[-1]:
            return own(module, query, key, value, None, **options)
        outputs = []
        for queries, keys in mask.chunks:
            rows, columns = slice(queries.start, queries.stop), slice(keys.start, keys.stop)
            part = mask.part(queries, keys).to(query.device)
            outputs.append(own(module, query[:, :, rows], key[:, :, columns], value[:, :, columns], part, **options)[0])
        return torch.cat(outputs, dim=1), None

    return attend
