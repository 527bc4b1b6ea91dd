"""The constructed heads of unit.heads as the stages that the explorer is made of."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from triaxis.attention import rope_file
from triaxis.attention.schema import ROPE
from triaxis.base import parquet
from triaxis.explorer.rows import Stages
from triaxis.fit.schema import COMPONENTS
from triaxis.heads import by_sequence
from triaxis.heads.schema import HEADS
from triaxis.heads.summary import describe
from triaxis.logits import features_file
from triaxis.text.schema import SEQUENCES
from unit.heads import constructed
from unit.heads.constructed import LENGTH

EXPLORER = {"heads": 7, "tokens": 40, "pixels": 16}
# A text that would end the page's script, were it not written otherwise, and one of two lines.
ODD = {3: "</script><b>", 5: "é\n"}


def texts() -> list[str]:
    return [ODD.get(place, f" w{place}") for place in range(LENGTH)]


def component(axis: int, index: np.ndarray, sequence: int) -> np.ndarray:
    """Made up: a falls with the distance, b and c differ with the position; each sequence adds its number to a."""
    return [sequence - index / 10, np.cos(index), np.sin(index)][axis]


def components() -> pa.Table:
    rows = []
    for sequence in range(constructed.SEQUENCES):
        for head in range(len(constructed.HEADS)):
            for number, axis in enumerate(("distance", "query", "key")):
                for index, value in enumerate(component(number, np.arange(LENGTH), sequence)):
                    place = {"sequence": sequence, "layer": 0, "head": head, "axis": axis}
                    rows.append(place | {"index": index, "value": float(value)})
    return pa.Table.from_pylist(rows, schema=COMPONENTS)


def write(folder: Path, model: str) -> Stages:
    """The stages of these heads under a model's name."""
    paths = constructed.write_stages(folder, model)
    own = {name: [paths[name]] for name in ("attention", "fits", "additivity", "patterns") if name in paths}
    values = by_sequence.values_of([paths["head_attention"]], own["fits"], own["additivity"], own["patterns"], LENGTH)
    rows = describe(values, by_sequence.scores_of([paths["prompt_scores"]]), None, 200, 0)
    metadata = {"model": model, "revision": f"sha256:{'0123456789abcdef' * 4}"}
    row = {"sequence": 0, "document": 0, "offset": 0, "length": LENGTH, "tokens": [0] * LENGTH, "texts": texts()}
    tables = {
        "heads": (rows, HEADS),
        "components": (components(), COMPONENTS),
        "rope": (rope_file.to_table([0], [constructed.ROTARY], [0.0]), ROPE),
        "sequences": (pa.Table.from_pylist([row], schema=SEQUENCES), SEQUENCES),
        "fits": (pa.Table.from_pylist(constructed.fit_rows(), schema=constructed.FITS), constructed.FITS),
    }
    for stage, (table, schema) in tables.items():
        paths[stage] = folder / stage / f"model={model}/shard-0000.parquet"
        parquet.write_parquet(paths[stage], table, schema, metadata)
    paths["features"] = folder / f"features/model={model}/shard-0000.parquet"
    layers = list(constructed.texts())
    with features_file.writer(paths["features"], layers[0].query.shape[2], metadata) as out:
        for layer in layers:
            out.write_table(features_file.to_table(layer))
    return Stages(**{stage: [paths[stage]] for stage in Stages.__dataclass_fields__})
