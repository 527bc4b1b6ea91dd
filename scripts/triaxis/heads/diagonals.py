"""The trend of logits within their sub-diagonals, in time linear in the length.

RoPE alone gives a sub-diagonal one value; Kim et al. 2025 (arXiv 2509.21042) take the mean of each sub-diagonal from
its cells and show what is left. docs/method/heads.md, "Within a sub-diagonal".
"""

import torch

from triaxis.mechanism.components import by_key_head

Tensor = torch.Tensor


def diagonal_trend(query: Tensor, key: Tensor) -> Tensor:
    """The slope of the logits along their sub-diagonals, by least squares of W_ij ~ m_(i-j) + slope i with a mean m for
    each sub-diagonal, times the length less 1: (heads,), in logits. NaN for fewer than 2 tokens.

    query: (heads, length, components) complex, rotated and scaled; key: (key heads, length, components), rotated. The
    cells of distance d have the mean position (d + length - 1) / 2, so i less it is (i + j - length + 1) / 2.
    """
    length = query.shape[1]
    if length < 2:
        return torch.full((len(query),), torch.nan, dtype=torch.float64)
    position = torch.arange(length, dtype=torch.float64)
    keys = key.cumsum(1) * ((position - length + 1) / 2)[:, None] + (key * (position / 2)[:, None]).cumsum(1)
    product = torch.view_as_real(by_key_head(query, len(key))) * torch.view_as_real(keys)[:, None]
    covariance = product.flatten(2).sum(-1).flatten()
    cells = torch.arange(1, length + 1, dtype=torch.float64)
    return (length - 1) * covariance / (cells * (cells**2 - 1) / 12).sum()
