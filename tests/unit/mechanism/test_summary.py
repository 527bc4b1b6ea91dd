"""mechanism.csv, from files whose means are known."""

import numpy as np
import pyarrow as pa
import pytest

from triaxis.attention import rope_file
from triaxis.attention.schema import ROPE
from triaxis.base import parquet, query, tables
from triaxis.base.stats import weighted_correlation
from triaxis.logits import features_file
from triaxis.mechanism.closed_form import closed_form
from triaxis.mechanism.complex_form import evenly, heads_as_components, turns_at
from triaxis.mechanism.measure import Mechanism
from triaxis.mechanism.names import SHARES
from triaxis.mechanism.schema import ADDITIVITY
from triaxis.mechanism.summary import (
    ADDITIVE,
    DUMMY_QUARTILES,
    additive_by_head,
    additive_by_prefix,
    additivity_by_sequence,
    dummies_of,
    frequency_tables,
    mechanism_by_model,
    pairs_by_frequency,
    pairs_of,
)
from triaxis.mechanism.surface import typical_surface
from unit.mechanism.tables import column, tables_of
from unit.vectors import LENGTH, ROTARIES, make_features, make_rotary

DISTANCES = evenly(LENGTH, 9)
MECHANISM = Mechanism(LENGTH, len(DISTANCES), [10])
OWN = {"prefix": LENGTH, "first_token": True, "phases": "own"}
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
    made = tables_of(MECHANISM, layers, dict(enumerate(rotaries)))
    for stage, table in made.items():
        parquet.write_parquet(folder / stage / f"model={model}" / "shard-0000.parquet", table, table.schema, {})
    return made


def files(folder, stage):
    return sorted((folder / stage).rglob("*.parquet"))


def summary(folder, models):
    queries = additivity_by_sequence(files(folder, "additivity"))
    stages = (files(folder, stage) for stage in ("dummies", "patterns"))
    return mechanism_by_model(queries, *stages, dict.fromkeys(models, 0.5), LENGTH, 200, 0)


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
    for name in SHARES:
        values = column(made["m"]["additivity"], name, **OWN)
        assert row[f"mean_{name}"] == pytest.approx(np.nanmean(values))
        assert row[f"mean_{name}_low"] < row[f"mean_{name}"] < row[f"mean_{name}_high"]
        assert row[f"random_{name}"] == random[f"mean_{name}"]
        assert np.isnan(random[f"random_{name}"])
    r = column(made["m"]["additivity"], "r_additive", **OWN)
    assert row["mean_interaction"] == pytest.approx(np.nanmean(1 - r**2))
    assert (row["sequences"], row["layers"], row["nope_layers"], row["heads"]) == (SEQUENCES, 3, 1, 4)
    assert row["weights"] == "trained" and random["weights"] == "random"


def test_the_null_of_scrambled_phases_and_the_rest_without_the_first_token_stand_apart(folder, made):
    row, table = summary(folder, made)[0], made["m"]["additivity"]
    for name in SHARES:
        null = column(table, name, **(OWN | {"phases": "scrambled"}))
        assert row[f"scrambled_{name}"] == pytest.approx(np.nanmean(null))
        assert row[f"scrambled_{name}_low"] < row[f"scrambled_{name}"] < row[f"scrambled_{name}_high"]
        rest = column(table, name, **(OWN | {"first_token": False}))
        assert row[f"rest_{name}"] == pytest.approx(np.nanmean(rest))
    assert row["scrambled_key_independence"] < 0.5 * row["mean_key_independence"]


def test_prefixes_have_a_row_each_and_the_whole_is_the_last(folder, made):
    queries = additivity_by_sequence(files(folder, "additivity"))
    rows = additive_by_prefix(queries, list(made), 200, 0)
    assert [(row["model"], row["prefix"]) for row in rows] == [(model, n) for model in made for n in (10, LENGTH)]
    first = column(made["m"]["additivity"], "key_independence", **(OWN | {"prefix": 10}))
    assert rows[0]["mean_key_independence"] == pytest.approx(np.nanmean(first)) and rows[0]["sequences"] == SEQUENCES
    whole = summary(folder, made)[0]
    for name in (*SHARES, "interaction"):
        for end in ("", "_low", "_high"):
            assert rows[1][f"mean_{name}{end}"] == whole[f"mean_{name}{end}"]


def test_heads_are_averaged_over_sequences_and_queries_of_whole_sequences(folder, made, tmp_path):
    query.write_csv(tmp_path / "additive.csv", ADDITIVE, files(folder, "additivity"), length=LENGTH)
    for phases in ("own", "scrambled"):
        values = additive_by_head(tmp_path / "additive.csv", "distance_independence", phases)
        assert list(values) == sorted(made) and values["m"].shape == (3, 4)
        expected = column(
            made["m"]["additivity"], "distance_independence", **(OWN | {"phases": phases, "layer": 2, "head": 3})
        )
        assert values["m"][2, 3] == pytest.approx(expected.mean()) and np.isnan(values["m"][1]).all()


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
    weight = LENGTH - DISTANCES.astype(float)
    values = []
    for sequence, layer, head in np.ndindex(SEQUENCES, 3, 4):
        if layer != 1:
            where = {"sequence": sequence, "layer": layer, "head": head}
            pair = [column(table, name, **where) for name in ("mean", "component")]
            left = [y - np.polyval(np.polyfit(DISTANCES, y, 1, w=np.sqrt(weight)), DISTANCES) for y in pair]
            values.append(weighted_correlation(*left, weight))
    assert row["mean_correlation"] == pytest.approx(np.mean(values))
    assert row["key_correlation"] == pytest.approx(np.nanmean(column(table, "key_correlation")))


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
    r = column(made["additivity"], "r_additive", layer=1, **OWN).reshape(SEQUENCES, -1)
    assert np.isnan(r[2]).all() and row["mean_r_additive"] == pytest.approx(np.delete(r, 2, axis=0).mean())
    for name in ("key_independence", "distance_independence", "interaction"):
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
        "additive": (ADDITIVE, "additivity"),
        "pairs": (None, "patterns"),
        "dummies": (DUMMY_QUARTILES, "dummies"),
    }.items():
        for models in (["still"], ["still", "m"]):
            own = [file for file in files(tmp_path, stage) if file.parent.name.removeprefix("model=") in models]
            written[name, len(models)] = tmp_path / f"{name}-{len(models)}.csv"
            if sql is None:
                shared = {model: dict.fromkeys(range(2), rotary) for model in models}
                rows = pairs_by_frequency(own, frequency_tables(shared), 10, 0)
                written[name, len(models)].write_text(tables.to_csv(rows))
            else:
                parameters = {"length": LENGTH} if name == "additive" else {}
                query.write_csv(written[name, len(models)], sql, own, **parameters)
    for models in (1, 2):
        r, pairs, dummies = (
            read(written[name, models])
            for name, read in (
                ("additive", lambda path: additive_by_head(path, "r_additive", "own")),
                ("pairs", pairs_of),
                ("dummies", dummies_of),
            )
        )
        assert np.isnan(r["still"]).all() and all(np.isnan(own.values["f"]).all() for own in pairs["still"])
        assert np.isnan(dummies["still"].key_correlation).all()
    assert np.isnan(r["m"][0]).all() and np.isfinite(r["m"][1]).all()
    assert (
        all(np.isfinite(own.values["f"]).all() for own in pairs["m"])
        and np.isfinite(dummies["m"].key_correlation).all()
    )


def test_a_surface_is_of_a_head_with_a_value_or_there_is_none(tmp_path):
    rows = [{"sequence": 0, "layer": 0, "head": 0, "query": LENGTH - 1, "r_additive": None, **OWN}]
    parquet.write_parquet(tmp_path / "additivity.parquet", pa.Table.from_pylist(rows, ADDITIVITY), ADDITIVITY, {})
    assert typical_surface(str(tmp_path / "additivity.parquet"), "", "", LENGTH) is None


def test_a_surface_shows_the_last_query_of_the_head_of_median_r_additive(tmp_path):
    rotary, layer = make_rotary(8, seed=5), make_features(make_rotary(8, seed=5))
    paths = [str(tmp_path / f"{name}.parquet") for name in ("additivity", "features", "rope")]
    table = tables_of(MECHANISM, [layer], {1: rotary})["additivity"]
    parquet.write_parquet(paths[0], table, ADDITIVITY, {})
    with features_file.writer(paths[1], layer.query.shape[-1], {}) as out:
        out.write_table(features_file.to_table(layer))
    parquet.write_parquet(paths[2], rope_file.to_table([1], [rotary], [0.0]), ROPE, {})
    surface, title = typical_surface(*paths, LENGTH)
    r = column(table, "r_additive", query=LENGTH - 1, **OWN)
    head = int(np.argsort(r)[1])
    assert title == f"layer 1 head {head}, query {LENGTH - 1}: r_additive = {r[head]:.3f}, the median head"
    _, queries, keys = list(heads_as_components(layer, rotary))[head]
    turn = turns_at(rotary, np.arange(LENGTH))
    form = closed_form(keys, turn, 8, keys.mean(0), turn.mean(0))
    np.testing.assert_allclose(surface.logits, form.logits(queries[-1:])[0][:, surface.keys], atol=1e-12)
    # On all keys and distances, f + g is the best sum: the residual's share is the interaction.
    left = ((surface.logits - surface.additive) ** 2).mean() / surface.logits.var()
    assert left == pytest.approx(1 - r[head] ** 2)
