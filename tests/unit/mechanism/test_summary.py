"""mechanism.csv, from files whose means are known."""

import numpy as np
import pyarrow as pa
import pytest

from triaxis.base import parquet, query
from triaxis.base.parquet import MATRIX
from triaxis.base.stats import weighted_correlation
from triaxis.fit.axes import Design
from triaxis.mechanism.additivity import make_grid, measure_additivity
from triaxis.mechanism.dummy_distance import fit_layer
from triaxis.mechanism.patterns import measure_layer
from triaxis.mechanism.summary import (
    DUMMY_QUARTILES,
    PAIRS,
    R_ADDITIVE,
    additive_by_head,
    dummies_of,
    frequency_tables,
    mechanism_by_model,
    pairs_of,
)
from triaxis.mechanism.surface import typical_surface
from unit.vectors import LENGTH, ROTARIES, make_features, make_rotary

GRID = make_grid(LENGTH, 3, 10, 9)
DESIGN = Design(LENGTH)


SEQUENCES = 5


def write_model(folder, model, rotaries, sequences=SEQUENCES, still=()):
    """Files of the three stages for one model of random vectors; returns their tables. The queries of the (sequence,
    layer) in `still` are 0."""
    layers = [
        type(made)(sequence, layer, made.query * ((sequence, layer) not in still), made.key)
        for sequence in range(sequences)
        for layer, rotary in enumerate(rotaries)
        for made in [make_features(rotary, seed=100 * sequence + layer)]
    ]
    stages = {
        "additivity": [measure_additivity(x, rotaries[x.layer], GRID) for x in layers],
        "dummies": [fit_layer(x, rotaries[x.layer], GRID.distances, DESIGN) for x in layers],
        "patterns": [measure_layer(x, rotaries[x.layer]) for x in layers],
    }
    made = {}
    for stage, parts in stages.items():
        made[stage] = pa.concat_tables(parts)
        path = folder / stage / f"model={model}" / "shard-0000.parquet"
        parquet.write_parquet(path, made[stage], made[stage].schema, {})
    return made


def files(folder, stage):
    return sorted((folder / stage).rglob("*.parquet"))


def summary(folder, models):
    stages = (files(folder, stage) for stage in ("additivity", "dummies", "patterns"))
    return mechanism_by_model(*stages, dict.fromkeys(models, 0.5), 200, 0)


def column(table, name, **where):
    chosen = np.ones(len(table), dtype=bool)
    for key, value in where.items():
        chosen &= table[key].to_numpy(zero_copy_only=False) == value
    return table[name].to_numpy(zero_copy_only=False)[chosen]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stages")


@pytest.fixture(scope="module")
def made(folder):
    """A model whose second layer has no rotary dimensions, its control, and a model of such layers alone."""
    rotary, still = make_rotary(8, seed=5), ROTARIES["nothing turns"]
    return {
        "m": write_model(folder, "m", [rotary, still, rotary]),
        "m-random": write_model(folder, "m-random", [rotary]),
        "still": write_model(folder, "still", [still]),
    }


def test_means_are_over_rotary_layers_heads_and_queries(folder, made):
    row, random, _ = summary(folder, made)
    r = column(made["m"]["additivity"], "r_additive").astype(float)
    assert row["mean_r_additive"] == pytest.approx(np.nanmean(r))
    assert row["mean_r_additive_low"] < row["mean_r_additive"] < row["mean_r_additive_high"]
    assert (row["sequences"], row["layers"], row["nope_layers"], row["heads"]) == (SEQUENCES, 3, 1, 4)
    assert row["weights"] == "trained" and random["weights"] == "random"
    assert row["random_r_additive"] == random["mean_r_additive"]
    assert np.isnan(random["random_r_additive"])


def test_slow_norm_share_is_that_of_the_slowest_three_eighths(folder, made):
    row = summary(folder, made)[0]
    table = made["m"]["patterns"]
    slow = np.argsort(make_rotary(8, seed=5).frequency)[:3]
    shares = [column(table, "norm_share", first_token=True, pair=pair).mean() for pair in slow]
    assert row["slow_norm_share"] == pytest.approx(np.sum(shares))


def test_pooled_interaction_is_a_share_of_all_variance(folder, made):
    row = summary(folder, made)[0]
    table = made["m"]["patterns"].filter(pa.array(column(made["m"]["patterns"], "layer") != 1))
    for name, first in (("pooled_interaction", True), ("rest_interaction", False)):
        f, g, interaction = (
            column(table, f"{part}_variance", first_token=first).sum() for part in ("f", "g", "interaction")
        )
        assert row[name] == pytest.approx(interaction / (f + g + interaction))


def test_mean_correlation_takes_the_trend_from_both(folder, made):
    row = summary(folder, made)[0]
    table = made["m"]["dummies"]
    weight = LENGTH - GRID.distances.astype(float)
    values = []
    for sequence, layer, head in np.ndindex(SEQUENCES, 3, 4):
        if layer != 1:
            where = {"sequence": sequence, "layer": layer, "head": head}
            pair = [column(table, name, **where).astype(float) for name in ("mean", "component")]
            left = [y - np.polyval(np.polyfit(GRID.distances, y, 1, w=np.sqrt(weight)), GRID.distances) for y in pair]
            values.append(weighted_correlation(*left, weight))
    assert row["mean_correlation"] == pytest.approx(np.mean(values))
    assert row["key_correlation"] == pytest.approx(np.nanmean(column(table, "key_correlation").astype(float)))


def test_a_model_without_rotary_dimensions_has_no_values(folder, made):
    row = summary(folder, made)[2]
    assert row["layers"] == row["nope_layers"] == 1
    for name in ("mean_r_additive", "mean_interaction_low", "slow_norm_share", "pooled_interaction", "key_correlation"):
        assert np.isnan(row[name]), name


@pytest.mark.parametrize("sequences", [1, 4])
def test_fewer_than_five_sequences_have_no_interval(tmp_path, sequences):
    write_model(tmp_path, "few", [make_rotary()], sequences=sequences)
    (row,) = summary(tmp_path, ["few"])
    assert np.isfinite(row["mean_r_additive"]) and np.isnan(row["mean_r_additive_low"])


def test_constant_logits_are_left_out_of_every_mean(tmp_path):
    """Queries that are all 0 in one layer, and, in one sequence, in all."""
    rotary = make_rotary(8, seed=5)
    still = {(sequence, 0) for sequence in range(SEQUENCES)} | {(2, 1)}
    made = write_model(tmp_path, "m", [rotary, rotary], still=still)
    write_model(tmp_path, "still", [rotary], still=still)
    row, none = summary(tmp_path, ["m", "still"])
    r = column(made["additivity"], "r_additive", layer=1).astype(float).reshape(SEQUENCES, -1)
    assert np.isnan(r[2]).all() and row["mean_r_additive"] == pytest.approx(np.delete(r, 2, axis=0).mean())
    for name in ("r_closed_form", "interaction"):
        assert np.isfinite(row[f"mean_{name}"]), name
    for name in ("pooled_interaction", "rest_interaction", "slow_norm_share", "key_correlation", "mean_correlation"):
        assert np.isfinite(row[name]), name
        assert np.isnan(none[name]), name
    assert (row["nope_layers"], none["nope_layers"]) == (0, 0) and np.isnan(none["mean_r_additive"])


def test_figures_read_what_constant_logits_leave(tmp_path):
    rotary = make_rotary(8, seed=5)
    still = {(sequence, 0) for sequence in range(SEQUENCES)}
    for model, rotaries in (("still", [rotary]), ("m", [rotary, rotary])):
        write_model(tmp_path, model, rotaries, still=still)
    written = {}
    for name, (sql, stage) in {
        "additive": (R_ADDITIVE, "additivity"),
        "pairs": (PAIRS, "patterns"),
        "dummies": (DUMMY_QUARTILES, "dummies"),
    }.items():
        for models in (["still"], ["still", "m"]):
            own = [file for file in files(tmp_path, stage) if file.parent.name.removeprefix("model=") in models]
            written[name, len(models)] = tmp_path / f"{name}-{len(models)}.csv"
            shared = {model: dict.fromkeys(range(2), rotary) for model in models}
            parameters = frequency_tables(shared) if name == "pairs" else {}
            query.write_csv(written[name, len(models)], sql, own, **parameters)
    for models in (1, 2):
        r, pairs, dummies = (
            read(written[name, models])
            for name, read in (("additive", additive_by_head), ("pairs", pairs_of), ("dummies", dummies_of))
        )
        assert np.isnan(r["still"]).all() and all(np.isnan(own.f).all() for own in pairs["still"])
        assert np.isnan(dummies["still"].key_correlation).all()
    assert np.isnan(r["m"][0]).all() and np.isfinite(r["m"][1]).all()
    assert all(np.isfinite(own.f).all() for own in pairs["m"]) and np.isfinite(dummies["m"].key_correlation).all()


def test_a_surface_is_of_a_head_with_a_value_or_there_is_none(tmp_path):
    rows = [{"sequence": 0, "layer": 0, "head": 0, "query": 3, "r_additive": None}]
    schema = pa.schema([*MATRIX, ("query", pa.int32()), ("r_additive", pa.float64())])
    parquet.write_parquet(tmp_path / "additivity.parquet", pa.Table.from_pylist(rows, schema), schema, {})
    assert typical_surface(str(tmp_path / "additivity.parquet"), "", "", GRID) is None
