"""Logit matrices by their sums: what each way to the sums gives, and the fit takes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import torch

from triaxis.base.errors import UserError
from triaxis.fit.axes import Sums

# Levels that are fitted together: more of them leave the processor's cache, fewer take longer to start than to compute.
LEVELS = 2**13


@dataclass(frozen=True)
class Summed:
    """n matrices of one length: their sequence, layer and head, the sums of all their cells, and of those held out."""

    matrices: pa.Table
    whole: Sums
    heldout: Sums

    @property
    def length(self) -> int:
        return int(self.whole.totals.shape[-1])


def require_finite(summed: Summed, path: object) -> Summed:
    """`summed`; raises UserError, with the first matrix of the file `path` whose logits are not all finite."""
    whole = summed.whole
    finite = whole.totals.isfinite().all(-1).all(-1) & whole.squares.isfinite()
    if not finite.all():
        bad = summed.matrices.slice(int(finite.int().argmin()), 1).to_pylist()[0]
        raise UserError(f"{path}: the logits of {bad} are not all finite: look at the model's weights and dtype")
    return summed


def in_batches(parts: Iterable[Summed], levels: int = LEVELS) -> Iterator[Summed]:
    """The same matrices, those of one length together until they have `levels` levels of an axis."""
    waiting: dict[int, list[Summed]] = {}
    for part in parts:
        own = waiting.setdefault(part.length, [])
        own.append(part)
        if sum(len(other.matrices) for other in own) * part.length >= levels:
            yield _join(waiting.pop(part.length))
    for rest in waiting.values():
        yield _join(rest)


def _join(parts: list[Summed]) -> Summed:
    matrices = pa.concat_tables([part.matrices for part in parts])
    return Summed(matrices, joined([part.whole for part in parts]), joined([part.heldout for part in parts]))


def joined(parts: Sequence[Sums]) -> Sums:
    """The sums of the matrices of all parts, in their order."""
    return Sums(torch.cat([part.totals for part in parts]), torch.cat([part.squares for part in parts]))
