"""The stages of random layers, and how tests pick rows of them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from triaxis.attention.rope import Rotary
from triaxis.logits.features import Features
from triaxis.mechanism.heads import batches
from triaxis.mechanism.measure import SCHEMAS, Mechanism


def tables_of(mechanism: Mechanism, layers: Sequence[Features], rotaries: Mapping[int, Rotary]) -> dict[str, pa.Table]:
    """stage -> its rows of all layers."""
    made = [mechanism.tables(heads) for heads in batches(layers, rotaries)]
    return {stage: pa.concat_tables([part[stage] for part in made]) for stage in SCHEMAS}


def where(table: pa.Table, **values: object) -> dict[str, NDArray]:
    """The columns of the rows that have these values, null as NaN."""
    for name, value in values.items():
        table = table.filter(pc.equal(table[name], value))
    return {
        name: table[name].to_numpy() if table[name].null_count == 0 else table[name].cast(pa.float64()).to_numpy()
        for name in table.column_names
    }


def column(table: pa.Table, name: str, **values: object) -> NDArray[np.float64]:
    """One column of `where`, as numbers."""
    return where(table, **values)[name].astype(float)
