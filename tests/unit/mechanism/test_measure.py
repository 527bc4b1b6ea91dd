"""The rows of the mechanism's stages: which there are, whatever is batched, and what a NoPE layer has."""

from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.logits import features_file
from triaxis.logits.features import Features
from triaxis.mechanism import heads, layers
from triaxis.mechanism.layers import read_layers, write_stages
from triaxis.mechanism.measure import SCHEMAS, Mechanism
from triaxis.mechanism.schema import ADDITIVITY
from unit.mechanism.tables import column, tables_of, where
from unit.vectors import LENGTH, ROTARIES, make_features, make_rotary


def test_additivity_has_a_row_a_query_with_the_first_token_without_it_and_scrambled():
    layer, rotary = make_features(make_rotary()), make_rotary()
    table = tables_of(Mechanism(LENGTH, 5), [layer], {1: rotary})["additivity"]
    assert table.schema == ADDITIVITY
    for first_token, phases, start in ((True, "own", 0), (False, "own", 1), (True, "scrambled", 0)):
        rows = where(table, first_token=first_token, phases=phases)
        assert rows["query"].tolist() == list(range(start, LENGTH)) * 4
        assert rows["head"].tolist() == np.repeat(np.arange(4), LENGTH - start).tolist()
        assert set(rows["sequence"]) == {3} and set(rows["layer"]) == {1} and set(rows["prefix"]) == {LENGTH}
    assert len(table) == 4 * (3 * LENGTH - 1)


def test_a_prefix_is_measured_as_a_sequence_of_its_own():
    layer, rotary = make_features(make_rotary()), make_rotary()
    short = replace(layer, query=layer.query[:, :10], key=layer.key[:, :10])
    whole = tables_of(Mechanism(LENGTH, 5, [10, LENGTH]), [layer], {1: rotary})
    alone = tables_of(Mechanism(10, 5), [short], {1: rotary})["additivity"]
    ours = where(whole["additivity"], prefix=10)
    theirs = where(alone, first_token=True, phases="own")
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(values, theirs[name], rtol=1e-10)
        else:
            assert values.tolist() == theirs[name].tolist()
    assert set(whole["additivity"]["prefix"].to_pylist()) == {10, LENGTH}
    assert set(where(whole["additivity"], prefix=10)["phases"]) == {"own"}


def test_a_layer_without_rotary_dimensions_is_not_averaged_in():
    """Its logits do not see distance: r 1 would be true and say nothing, so there is none."""
    table = tables_of(Mechanism(LENGTH, 5), [make_features(ROTARIES["nothing turns"])], {1: ROTARIES["nothing turns"]})
    additivity = table["additivity"]
    unseen = (
        "r_additive",
        "key_independence",
        "distance_independence",
        "f_variance",
        "interaction_variance",
        "bound_mean",
    )
    for name in unseen:
        assert additivity[name].null_count == len(additivity), name
    assert (column(additivity, "g_variance") > 0).all()


@pytest.mark.parametrize("vectors", [1, 2 * LENGTH, 6 * LENGTH, 10**6])
def test_how_heads_are_batched_changes_no_row(vectors, monkeypatch):
    """Layers of two rotations, one of them NoPE, in two sequences."""
    rotaries = {0: make_rotary(seed=5), 1: make_rotary(seed=5), 2: ROTARIES["nothing turns"], 3: make_rotary(seed=6)}
    made = [
        replace(make_features(rotaries[layer], 6, 3, seed=10 * sequence + layer), sequence=sequence, layer=layer)
        for sequence in (0, 1)
        for layer in rotaries
    ]
    mechanism = Mechanism(LENGTH, 5, [8])
    one_by_one = [tables_of(mechanism, [layer], rotaries) for layer in made]
    monkeypatch.setattr(heads, "VECTORS", vectors)
    batched = tables_of(mechanism, made, rotaries)
    for stage, schema in SCHEMAS.items():
        expected = pa.concat_tables([tables[stage] for tables in one_by_one])
        keys = [name for name in schema.names if name in KEYS]
        ours, theirs = (table.sort_by([(name, "ascending") for name in keys]) for table in (batched[stage], expected))
        assert len(ours) == len(theirs)
        for name in schema.names:
            left, right = (where(table)[name] for table in (ours, theirs))
            if left.dtype.kind == "f":
                np.testing.assert_allclose(left, right, rtol=1e-7, atol=1e-12, err_msg=f"{stage} {name}")
            else:
                assert left.tolist() == right.tolist()


KEYS = ("sequence", "layer", "head", "prefix", "first_token", "phases", "query", "distance", "pair")


def write_features(path, made: list[Features]) -> None:
    with features_file.writer(path, made[0].query.shape[-1], {"model": "m"}) as out:
        for layer in made:
            out.write_table(features_file.to_table(layer))


def test_features_are_checked_against_rope(tmp_path):
    rotary = make_rotary()
    layer, path = make_features(rotary), tmp_path / "features.parquet"
    whole = [replace(layer, sequence=sequence, layer=number) for sequence in (0, 1) for number in (0, 1)]
    write_features(path, whole)
    read = list(read_layers(path, {0: rotary, 1: rotary}))
    assert [(layer.sequence, layer.layer) for layer in read] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    with pytest.raises(UserError, match="has layer 1, which its rope/ file lacks"):
        list(read_layers(path, {0: rotary}))
    write_features(path, whole[:-1])
    with pytest.raises(UserError, match=r"lacks layers \[1\] of sequence 1"):
        list(read_layers(path, {0: rotary, 1: rotary}))


def test_a_layer_without_keys_is_refused(tmp_path):
    rotary = make_rotary()
    layer, path = make_features(rotary), tmp_path / "features.parquet"
    write_features(path, [replace(layer, key=layer.key[:0])])
    with pytest.raises(UserError, match="has no keys in layer 1 of sequence 3"):
        list(read_layers(path, {1: rotary}))


def test_the_stages_are_written_in_one_pass_and_read_by_duckdb(tmp_path, monkeypatch):
    """Twice, with the same bytes; in groups of rows that are not too small."""
    monkeypatch.setattr(layers, "GROUP_ROWS", 300)
    rotary, mechanism = make_rotary(), Mechanism(LENGTH, 5)
    made = [replace(make_features(rotary, seed=seed), sequence=seed) for seed in range(3)]
    for folder in ("a", "b"):
        paths = {stage: tmp_path / folder / stage / "model=m" / "shard-0000.parquet" for stage in SCHEMAS}
        write_stages(paths, SCHEMAS, (tables_of(mechanism, [layer], {1: rotary}) for layer in made), {"model": "m"})
    for stage in SCHEMAS:
        first, second = (tmp_path / folder / stage / "model=m" / "shard-0000.parquet" for folder in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
    path = tmp_path / "a/additivity/model=m/shard-0000.parquet"
    assert parquet.open_parquet(path).num_row_groups == 2
    found = duckdb.sql(
        f"SELECT phases, first_token, count(*), avg(r_additive), any_value(model) "
        f"FROM read_parquet('{path}', hive_partitioning = true) GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert [(row[0], row[1], row[2], row[4]) for row in found] == [
        ("own", False, 12 * (LENGTH - 1), "m"),
        ("own", True, 12 * LENGTH, "m"),
        ("scrambled", True, 12 * LENGTH, "m"),
    ]


def test_a_run_that_fails_leaves_no_file(tmp_path):
    rotary, mechanism = make_rotary(), Mechanism(LENGTH, 5)

    def tables():
        yield tables_of(mechanism, [make_features(rotary)], {1: rotary})
        raise UserError("the features end early")

    with pytest.raises(UserError, match="end early"):
        write_stages({stage: tmp_path / f"{stage}.parquet" for stage in SCHEMAS}, SCHEMAS, tables(), {})
    assert list(tmp_path.iterdir()) == []
