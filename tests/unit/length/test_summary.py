"""The table of the lengths, from files whose values are known."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from triaxis.base import parquet
from triaxis.length import schema
from triaxis.length.summary import length_by_method, loss_curves

RUN = {"method": "plain", "length": 64}


def written(folder: Path, tables: Mapping[str, Sequence[dict]]) -> dict[str, list[Path]]:
    """stage -> its file of the model m, trained on 64 tokens; a stage that is not named has no rows."""
    files = {}
    for stage in ("losses", "passkeys", "attention", "distances", "clouds", "components"):
        columns = getattr(schema, stage.upper())
        files[stage] = [folder / stage / "model=m" / "plain.parquet"]
        metadata = {"training_length": "64", "training_length_is": "the model's own"}
        parquet.write_parquet(files[stage][0], pa.Table.from_pylist(tables.get(stage, []), columns), columns, metadata)
    return files


def test_passkeys_have_an_interval_even_if_all_are_right(tmp_path):
    tables = {stage: [RUN] for stage in ("attention", "distances")}
    tables["losses"] = [RUN | {"sequence": 0, "first": 0, "last": 63, "tokens": 64, "loss": 2.0}]
    tables["passkeys"] = [RUN | {"tokens": 5, "right": 5, "correct": True}] * 10
    tables["passkeys"] += [{"method": "plain", "length": 128, "tokens": 5, "right": 0, "correct": False}] * 4
    within, beyond = length_by_method(written(tmp_path, tables), ["m"], ["plain"], 100, 0)
    assert (within["passkeys"], within["passkey_accuracy"], within["passkey_accuracy_high"]) == (10, 1, 1)
    assert within["passkey_accuracy_low"] == pytest.approx(1 - 0.2775, abs=1e-4)
    assert beyond["passkey_accuracy"] == 0 and np.isnan(beyond["passkey_accuracy_high"])


def bucket(method: str, length: int, sequence: int, first: int, last: int, loss: float) -> dict:
    return {"method": method, "length": length, "sequence": sequence, "first": first, "last": last} | {
        "tokens": last - first + 1,
        "loss": loss,
    }


def test_a_loss_is_of_the_tokens_added_and_a_rise_is_within_a_sequence(tmp_path):
    """Sequences differ by 10 nats, and each rises by 1 under plain and by 0.25 under lm_infinite."""
    rows = []
    for sequence in range(6):
        level = 10.0 * sequence
        for method, rise in (("plain", 1.0), ("lm_infinite", 0.25)):
            rows += [bucket(method, 32, sequence, 1, 31, level + 5)]
            rows += [bucket(method, 64, sequence, 1, 31, level + 5), bucket(method, 64, sequence, 32, 63, level)]
            rows += [bucket(method, 128, sequence, 1, 63, 99.0)]
            rows += [bucket(method, 128, sequence, 64, 79, level + rise - 0.1)]
            rows += [bucket(method, 128, sequence, 80, 127, level + rise + 0.1 / 3)]
    found = length_by_method(written(tmp_path, {"losses": rows}), ["m"], ["plain", "lm_infinite"], 200, 0)
    table = {(row["method"], row["length"]): row for row in found}
    assert [(key, row["sequences"]) for key, row in table.items()] == [
        ((method, length), 6) for method in ("plain", "lm_infinite") for length in (32, 64, 128)
    ]
    for method, rise in (("plain", 1.0), ("lm_infinite", 0.25)):
        row = table[method, 128]
        assert row["loss"] == pytest.approx(25 + rise) and row["loss_high"] - row["loss_low"] > 20
        for name in ("rise", "rise_low", "rise_high"):
            assert row[name] == pytest.approx(rise), name
        assert table[method, 64]["rise"] == 0 and table[method, 32]["rise"] == pytest.approx(5)
        assert table[method, 64]["loss_from_start"] == pytest.approx(25 + 5 * 31 / 63)


def test_outlier_shares_have_an_interval_over_sequences(tmp_path):
    """Half of the points of one of six sequences are outliers: the interval is wide, though the points are many."""
    points = [
        RUN | {"layer": 0, "head": 0, "sequence": sequence, "position": n, "outlier": sequence == 0 and n < 50}
        for sequence in range(6)
        for n in range(100)
    ]
    tables = {
        "losses": [bucket("plain", 64, sequence, 1, 63, 1.0) for sequence in range(6)],
        "distances": [RUN | {"layer": 0, "head": 0, "outlier_share": 50 / 600, "expected": 0.012}],
        "clouds": points,
    }
    (row,) = length_by_method(written(tmp_path, tables), ["m"], ["plain"], 500, 0)
    assert row["outlier_share"] == pytest.approx(50 / 600) and row["outlier_expected"] == 0.012
    assert row["outlier_share_low"] == 0 and 0.15 < row["outlier_share_high"] <= 0.25


def test_a_curve_of_losses_has_its_interval_from_five_sequences_on(tmp_path):
    rows = [
        bucket("plain", 64, sequence, first, first + 15, sequence + first)
        for sequence in range(6)
        for first in (1, 17, 33)
    ]
    own = loss_curves(written(tmp_path / "six", {"losses": rows})["losses"], 200, 0)["m", "plain"]
    np.testing.assert_allclose(own.position, [8.5, 24.5, 40.5])
    np.testing.assert_allclose(own.loss, [3.5, 19.5, 35.5])
    assert (own.low < own.loss).all() and (own.loss < own.high).all() and (own.high - own.low < 5).all()
    few = [row for row in rows if row["sequence"] < 4]
    assert np.isnan(loss_curves(written(tmp_path / "four", {"losses": few})["losses"], 200, 0)["m", "plain"].low).all()
