"""The table of the lengths, from files whose values are known."""

import numpy as np
import pyarrow as pa
import pytest

from triaxis.base import parquet
from triaxis.length import schema
from triaxis.length.summary import length_by_method

RUN = {"method": "plain", "length": 64}


def test_passkeys_have_an_interval_even_if_all_are_right(tmp_path):
    tables = {stage: [RUN] for stage in ("attention", "distances")}
    tables["losses"] = [RUN | {"sequence": 0, "first": 0, "last": 63, "tokens": 64, "loss": 2.0}]
    tables["passkeys"] = [RUN | {"tokens": 5, "right": 5, "correct": True}] * 10
    tables["passkeys"] += [{"method": "plain", "length": 128, "tokens": 5, "right": 0, "correct": False}] * 4
    tables["components"] = []
    files = {}
    for stage, rows in tables.items():
        columns = getattr(schema, stage.upper())
        files[stage] = [tmp_path / stage / "model=m" / "plain.parquet"]
        metadata = {"training_length": "64", "training_length_is": "the model's own"}
        parquet.write_parquet(files[stage][0], pa.Table.from_pylist(rows, columns), columns, metadata)
    within, beyond = length_by_method(files, ["m"], ["plain"])
    assert (within["passkeys"], within["passkey_accuracy"], within["passkey_accuracy_high"]) == (10, 1, 1)
    assert within["passkey_accuracy_low"] == pytest.approx(1 - 0.2775, abs=1e-4)
    assert beyond["passkey_accuracy"] == 0 and np.isnan(beyond["passkey_accuracy_high"])
