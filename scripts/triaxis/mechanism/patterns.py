"""The pattern in queries and keys, frequency pair by frequency pair, and what each pair gives to f, g and their rest.

f, g and w - f - g are sums over components of Re x_m, with x_m = q_m conj(kbar_m) (e_m - c_m), q_m c_m conj(k_m -
kbar_m) and q_m conj(k_m - kbar_m) (e_m - c_m), e_m = exp(1j t_m d). Queries, keys and distances vary apart from one
another, so the covariance of two components,

    E[Re x_m Re x_n] = 1/2 Re( E[x_m conj(x_n)] + E[x_m x_n] ),

is a product of second moments of queries, keys and turns: (components, components) matrices, whatever the length. A
component's contribution to a variance is its covariance with the whole sum; contributions add up to the variance, and
may be negative. Norm per frequency pair: Barbero et al. 2024 (arXiv 2410.06205);
docs/method/mechanism.md, "The variance of f, g and the interaction".
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary
from triaxis.logits.features import Features
from triaxis.mechanism.complex_form import Complex, heads_as_components, rows_of, turns_at
from triaxis.mechanism.schema import PATTERNS

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Second moments of n components, (components, components): E[x_m conj(x_n)] in `hermitian`, E[x_m x_n] in
    `plain`."""

    hermitian: Complex
    plain: Complex

    def __mul__(self, other: "Moments") -> "Moments":
        """The moments of x_m y_m with x and y independent."""
        return Moments(self.hermitian * other.hermitian, self.plain * other.plain)

    def conj(self) -> "Moments":
        return Moments(self.hermitian.conj(), self.plain.conj())

    def contributions(self) -> Array:
        """(components,): the covariance of each Re x_m with their sum, for x of mean 0."""
        return (self.hermitian + self.plain).real.sum(1) / 2


def moments(values: Complex) -> Moments:
    """values: (n, components)."""
    return Moments(values.T @ values.conj() / len(values), values.T @ values / len(values))


def variances(query: Complex, key: Complex, turn: Complex) -> tuple[Array, Array, Array]:
    """What each component gives to the variance of f over distances, of g over keys and of w - f - g over both.

    query, key: (length, components), the query scaled; turn: (distances, components). Averaged over the queries; in
    squared logits; (components,) each. kbar and c are the means over exactly these keys and distances, so the three
    variances add up to that of w.
    """
    mean_key, mean_turn = key.mean(0), turn.mean(0)
    queries = moments(query)
    keys, turns = moments(key - mean_key).conj(), moments(turn - mean_turn)
    return (
        (queries * moments(mean_key[None]).conj() * turns).contributions(),
        (queries * moments(mean_turn[None]) * keys).contributions(),
        (queries * keys * turns).contributions(),
    )


def concentration(values: Complex) -> Array:
    """Mean resultant length of the phases of (n, components): 1 if all are equal, near 0 if uniform. Mardia & Jupp
    2000."""
    size = np.abs(values)
    phases = np.divide(values, size, out=np.zeros_like(values), where=size > 0)
    return np.abs(phases.mean(0))


def constancy(values: Complex) -> Array:
    """|mean|^2 / mean |.|^2 of (n, components): the share of the energy that the mean holds; NaN where all are 0."""
    energy = (np.abs(values) ** 2).mean(0)
    return np.divide(np.abs(values.mean(0)) ** 2, energy, out=np.full(energy.shape, np.nan), where=energy > 0)


def turns_over(rotary: Rotary, length: int) -> Array:
    """(pairs,): full turns between the first and the last of `length` positions."""
    return np.abs(rotary.frequency) * (length - 1) / (2 * np.pi)


def measure_head(query: Complex, key: Complex, rotary: Rotary, turn: Complex) -> dict[str, Array]:
    """The pattern columns of one head, a value a pair and, if the layer has unrotated dimensions, one for them all.

    query, key: (positions, components), the query scaled; turn: (distances, components). Only the variances have a
    value for the unrotated dimensions: norm_share is a share among the pairs.
    """
    pairs = len(rotary.frequency)
    norm = np.abs(query[:, :pairs]).mean(0) * np.abs(key[:, :pairs]).mean(0)
    total = norm.sum()
    by_pair = {
        "norm_share": norm / total if total > 0 else np.full(pairs, np.nan),
        "key_constancy": constancy(key[:, :pairs]),
        "key_concentration": concentration(key[:, :pairs]),
        "query_concentration": concentration(query[:, :pairs]),
    }
    names = ("f_variance", "g_variance", "interaction_variance")
    by_component = dict(zip(names, variances(query, key, turn), strict=True))
    if not len(rotary.unrotated):
        return by_pair | by_component
    return {name: np.append(values, np.nan) for name, values in by_pair.items()} | {
        name: np.append(values[:pairs], values[pairs:].sum()) for name, values in by_component.items()
    }


def measure_layer(features: Features, rotary: Rotary) -> pa.Table:
    """The rows of patterns/ for one (sequence, layer): each head with the first token, then without it.

    Queries and keys are those of all positions, distances all of 0 to length - 1. The row of the unrotated dimensions
    has no pair: it is the only one of a layer without rotary dimensions (NoPE).
    """
    length = features.query.shape[1]
    turn = turns_at(rotary, np.arange(length))
    rest = [np.nan] if len(rotary.unrotated) else []
    constant = {
        "pair": np.append(np.arange(len(rotary.frequency)), rest),
        "frequency": np.append(rotary.frequency, rest),
        "turns": np.append(turns_over(rotary, length), rest),
    }
    rows = len(constant["pair"])
    parts: list[dict[str, NDArray]] = []
    for head, query, key in heads_as_components(features, rotary):
        for start in (0, 1):
            columns = measure_head(query[start:], key[start:], rotary, turn)
            first = {"head": np.full(rows, head), "first_token": np.full(rows, start == 0)}
            parts.append(first | constant | columns)
    return rows_of(features, parts, PATTERNS)
