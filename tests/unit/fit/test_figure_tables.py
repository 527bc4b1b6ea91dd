"""The tables that figures are drawn from: what is averaged over what, and that a figure reads what was written."""

import resource
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from triaxis.attention.rope import Rotary
from triaxis.base import query, tables
from triaxis.base.errors import UserError
from triaxis.fit import summary
from triaxis.mechanism import figures
from triaxis.mechanism import summary as mechanism
from triaxis.mechanism.names import SHARES as ADDITIVE

KEY = {"layer": 0, "head": 0, "prefix": 16}


@pytest.fixture
def written(tmp_path):
    """written(sql, rows of a model) -> the table. Models named like a number and like a word, each in two shards."""

    def write(sql: str, rows: list[dict], **parameters: object) -> Path:
        files = []
        for model in ("7", "a"):
            for shard in (0, 1):
                file = tmp_path / f"model={model}" / f"shard-{shard}.parquet"
                file.parent.mkdir(exist_ok=True)
                pq.write_table(pa.Table.from_pylist([row for row in rows if row["sequence"] == shard]), file)
                files.append(file)
        query.write_csv(tmp_path / "table.csv", sql, files, **parameters)
        return tmp_path / "table.csv"

    return write


def test_heads_are_means_over_sequences(written):
    rows = [
        KEY
        | {"sequence": n, "layer": layer, "head": head, "axes": axes, "r": layer + head / 4 + n / 8, "null_r": null_r}
        for n in (0, 1)
        for layer in (0, 1, 2)
        for head in (0, 1)
        for axes, null_r in (("key", 0.1), ("distance+key", 0.2))
    ]
    table = written(summary.R_BY_HEAD, rows)
    r = summary.r_by_head(table, "key")
    assert list(r) == ["7", "a"]
    np.testing.assert_array_equal(r["a"], np.arange(3)[:, None] + np.arange(2) / 4 + 1 / 16)
    assert summary.null_r(table) == {"key": 0.1, "distance+key": 0.2}


def test_a_head_without_a_value_is_nan(written):
    """Constant logits have no r, and NoPE layers no r_additive."""
    heads = [KEY | {"sequence": n, "axes": "key", "r": float("nan"), "null_r": 0.1} for n in (0, 1)]
    assert np.isnan(summary.r_by_head(written(summary.R_BY_HEAD, heads), "key")["7"]).all()
    additivity = [
        {"sequence": n, "layer": layer, "head": 0, "prefix": 8, "first_token": True, "phases": "own"}
        | dict.fromkeys(ADDITIVE, 0.5 if layer else None)
        for n in (0, 1)
        for layer in (0, 1)
    ]
    r = mechanism.additive_by_head(written(mechanism.ADDITIVE, additivity, length=8), "r_additive", "own")["7"]
    np.testing.assert_array_equal(r, [[np.nan], [0.5]])


def pattern_rows(turns_of_layers: list[list[float]], shares: dict[str, float], sequences: int) -> list[dict]:
    """patterns/: layer -> the turns of its pairs; a head a layer, whose norm_share is its number. Of more than two
    sequences, each has more of f than the one before."""
    return [
        {"sequence": n, "layer": layer, "head": 0, "first_token": first, "pair": pair, "turns": turns}
        | {"frequency": turns / 100, "norm_share": float(layer), "key_constancy": 0.25}
        | (shares if first else dict.fromkeys(shares, 9.0))
        | ({"f_variance": 1.0 + n} if first and sequences > 2 else {})
        for n in range(sequences)
        for first in (True, False)
        for layer, own in enumerate(turns_of_layers)
        for pair, turns in enumerate(own)
    ]


def frequency_tables(frequencies: list[list[float]]) -> dict[str, list]:
    """Those of both models, whose layers have these frequencies."""
    rotaries = {
        layer: Rotary(1.0, 1.0, np.arange(0, 4, 2), np.arange(1, 4, 2), np.array(own), np.arange(0))
        for layer, own in enumerate(frequencies)
    }
    return mechanism.frequency_tables({"7": rotaries, "a": rotaries})


SHARES = {"f_variance": 1.0, "g_variance": 2.0, "interaction_variance": 1.0}


@pytest.fixture
def pairs_table(tmp_path):
    """pairs_table(turns of layers, sequences) -> pairs.csv of two models."""

    def write(turns: list[list[float]], sequences: int = 2) -> Path:
        files = []
        for model in ("7", "a"):
            (tmp_path / f"model={model}").mkdir()
            files.append(tmp_path / f"model={model}" / "shard-0000.parquet")
            rows = pattern_rows(turns, SHARES, sequences)
            pq.write_table(pa.Table.from_pylist(rows), files[-1])
        rows = mechanism.pairs_by_frequency(files, frequency_tables(turns), 100, 0)
        (tmp_path / "pairs.csv").write_text(tables.to_csv(rows))
        return tmp_path / "pairs.csv"

    return write


def test_pairs_are_shares_of_all_variance_and_slow_turns_keep_their_digits(pairs_table):
    turns = [[40.0, 1 / 3e7]]
    (pairs,) = mechanism.pairs_of(pairs_table(turns))["7"]
    assert (pairs.first_layer, pairs.layers) == (0, 1)
    np.testing.assert_array_equal(pairs.turns, [40.0, 1 / 3e7])
    shares = [pairs.values[name] for name in ("f", "g", "interaction")]
    np.testing.assert_array_equal(shares, [[1 / 8] * 2, [1 / 4] * 2, [1 / 8] * 2])


def test_pairs_have_intervals_over_sequences_from_five_on(pairs_table):
    (pairs,) = mechanism.pairs_of(pairs_table([[40.0, 2.0]], sequences=5))["7"]
    for name in ("norm_share", "key_constancy", "f", "g", "interaction"):
        low, middle, high = (pairs.values[f"{name}{end}"] for end in ("_low", "", "_high"))
        assert (low <= middle).all() and (middle <= high).all()
    # Its share of the whole differs from one sequence to another.
    assert (pairs.values["f_low"] < pairs.values["f_high"]).all()


def test_pairs_of_few_sequences_have_no_interval(pairs_table):
    (pairs,) = mechanism.pairs_of(pairs_table([[40.0, 2.0]]))["7"]
    assert np.isnan(pairs.values["f_low"]).all() and np.isfinite(pairs.values["f"]).all()


def test_pairs_are_averaged_over_layers_of_one_frequency_table(pairs_table):
    """As in Gemma 3, whose windowed and whole layers turn their pairs at other frequencies."""
    turns = [[40.0, 2.0], [10.0, 0.5], [40.0, 2.0]]
    table = pairs_table(turns)
    for local, whole in (mechanism.pairs_of(table)[model] for model in ("7", "a")):
        assert (local.first_layer, local.layers, whole.first_layer, whole.layers) == (0, 2, 1, 1)
        np.testing.assert_array_equal(local.turns, [40, 2])
        np.testing.assert_array_equal(whole.turns, [10, 0.5])
        np.testing.assert_array_equal([own.values["norm_share"] for own in (local, whole)], 1)  # of 0 and 2, and of 1
        np.testing.assert_allclose([own.values["f"] for own in (local, whole)], [[1 / 12] * 2, [1 / 24] * 2])
    assert (
        table.read_text()
        .splitlines()[0]
        .startswith("model,series,step,first_layer,layers,pair,frequency,turns,norm_share")
    )


def test_figures_of_pairs_have_a_line_for_each_frequency_table(pairs_table):
    turns = [[40.0, 2.0], [10.0, 0.5], [40.0, 2.0]]
    pairs = mechanism.pairs_of(pairs_table(turns))
    for figure in (figures.plot_pairs(pairs), figures.plot_contributions(pairs)):
        panel = figure.axes[0]
        drawn = {tuple(line.get_xdata()) for line in panel.get_lines() if len(line.get_xdata())}
        assert {(40.0, 2.0), (10.0, 0.5)} <= drawn
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert labels[-2:] == ["layers like 0: 2", "layers like 1: 1"]
        plt.close(figure)
    assert panel.get_title() == "7\nf 0.25, g 0.50, interaction 0.25"


def test_dummies_are_quartiles_over_heads(written):
    rows = [
        {"sequence": n, "layer": 0, "head": head, "distance": distance, "key_correlation": head / 4 + n / 10}
        for n in (0, 1)
        for head in range(5)
        for distance in (0, 9)
    ]
    curve = mechanism.dummies_of(written(mechanism.DUMMY_QUARTILES, rows))["a"]
    np.testing.assert_array_equal(curve.distances, [0, 9])
    np.testing.assert_allclose(curve.key_correlation[:, 0], np.array([0.25, 0.5, 0.75]) + 0.05)


def test_what_the_disk_refuses_is_one_line_and_leaves_no_table(tmp_path):
    file = tmp_path / "model=a" / "shard-0.parquet"
    file.parent.mkdir()
    rows = [KEY | {"sequence": 0, "head": n, "axes": "key", "r": 0.1, "null_r": 0.1} for n in range(1000)]
    pq.write_table(pa.Table.from_pylist(rows), file)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(UserError, match=r"r_by_head\.csv cannot be written: File too large; raise"):
            query.write_csv(tmp_path / "r_by_head.csv", summary.R_BY_HEAD, [file])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["model=a"]
