"""Second moments of complex components, and the variances that they give.

Let z be random components of mean 0, and q fixed ones. Then Re sum_m q_m z_m has the variance

    1/2 Re sum_mn ( q_m conj(q_n) E[z_m conj(z_n)] + q_m q_n E[z_m z_n] ),

a quadratic form in q. If z_m = x_m y_m with x and y independent, its moments are the products of theirs: (components,
components) matrices, however many values x and y take. docs/method/mechanism.md, "The variance of f, g and the
interaction".
"""

from dataclasses import dataclass

import torch

from triaxis.attention.pairs import as_real

Tensor = torch.Tensor


@dataclass(frozen=True)
class Moments:
    """(..., components, components) complex: E[z_m conj(z_n)] in `hermitian`, E[z_m z_n] in `plain`."""

    hermitian: Tensor
    plain: Tensor

    def __mul__(self, other: "Moments") -> "Moments":
        """The moments of x_m y_m, x and y independent."""
        return Moments(self.hermitian * other.hermitian, self.plain * other.plain)

    def conj(self) -> "Moments":
        return Moments(self.hermitian.conj(), self.plain.conj())

    def form(self) -> Tensor:
        """S (..., 2 components, 2 components): x S x' is the variance of Re sum_m q_m z_m, with x = as_real(q)."""
        total, difference = self.hermitian + self.plain, self.hermitian - self.plain
        real = torch.stack([total.real, difference.imag], dim=-1)
        imaginary = torch.stack([-total.imag, difference.real], dim=-1)
        return torch.stack([real, imaginary], dim=-3).flatten(-4, -3).flatten(-2) / 2


def moments(values: Tensor) -> Moments:
    """The moments of (..., n, components) over the n values, by one real matrix product."""
    parts = as_real(values)
    # (..., components, components, 2, 2): E of real and imaginary parts.
    products = (parts.mT @ parts / values.shape[-2]).unflatten(-2, (-1, 2)).unflatten(-1, (-1, 2)).transpose(-3, -2)
    rr, ri, ir, ii = products.flatten(-2).unbind(-1)
    return Moments(torch.complex(rr + ii, ir - ri), torch.complex(rr - ii, ir + ri))


def moments_of(value: Tensor) -> Moments:
    """The moments of one value (..., components), which does not vary."""
    left, right = value[..., :, None], value[..., None, :]
    return Moments(left * right.conj(), left * right)


def variances(values: Tensor, form: Tensor) -> Tensor:
    """x S x' of x = as_real(values): (..., n, components) and (..., 2 components, 2 components) -> (..., n)."""
    parts = as_real(values)
    return (parts @ form).mul_(parts).sum(-1)


def contributions(values: Tensor, form: Tensor) -> Tensor:
    """What each component gives to the mean of `variances` over the n values: (..., components).

    It is the covariance of Re q_m z_m with the sum of all: contributions add up to the mean, and may be negative.
    """
    parts = as_real(values)
    return (parts.mT @ parts / values.shape[-2] * form).sum(-1).unflatten(-1, (-1, 2)).sum(-1)
