"""The closed form, its residual and its bound, on random vectors and on models built to be additive or not."""

from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from triaxis.attention import rope_file
from triaxis.attention.rope import Rotary
from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.logits import features_file
from triaxis.logits.features import Features
from triaxis.mechanism.additivity import additivity_of, closed_form, make_grid, measure_additivity, null_r_additive
from triaxis.mechanism.complex_form import as_components, heads_as_components, read_layers, turns_at
from triaxis.mechanism.schema import ADDITIVITY
from unit.vectors import LENGTH, ROTARIES, dense_logits, make_features, make_rotary


@pytest.fixture(params=ROTARIES)
def rotary(request) -> Rotary:
    return ROTARIES[request.param]


def make_form(rotary: Rotary, distances=None, seed: int = 0):
    """A random query and key head of LENGTH positions, scaled components, and their closed form on a grid."""
    layer = make_features(rotary, 1, 1, seed=seed)
    _, query, key = next(heads_as_components(layer, rotary))
    distances = np.arange(0, LENGTH, 3) if distances is None else distances
    form = closed_form(key[::2], key.mean(0), len(rotary.frequency), turns_at(rotary, distances))
    return layer, query, form, distances


@pytest.mark.parametrize("seed", range(3))
def test_logits_are_those_of_rotated_vectors(rotary, seed):
    layer, query, form, distances = make_form(rotary, seed=seed)
    dense = dense_logits(layer.query[0], layer.key[0, ::2], rotary, distances)
    np.testing.assert_allclose(form.logits(query), dense, rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_w_is_f_plus_g_plus_the_residual(rotary, seed):
    _, query, form, _ = make_form(rotary, seed=seed)
    whole = form.f(query)[:, :, None] + form.g(query)[:, None] + form.residual(query)
    np.testing.assert_allclose(whole, form.logits(query), rtol=0, atol=1e-10)


def test_f_and_g_are_the_designs(rotary):
    """Word for word: scale outside, pairs and unrotated dimensions apart, as docs/method/index.md writes them."""
    layer, query, form, distances = make_form(rotary)
    q, k = (rotary.amplitude * rotary.to_complex(x[0]) for x in (layer.query, layer.key))
    turn = np.exp(1j * np.multiply.outer(distances, rotary.frequency))
    f = rotary.scale * np.einsum("qm,m,dm->qd", q, k.mean(0).conj(), turn).real
    g = rotary.scale * np.einsum("qm,km,m->qk", q, (k[::2] - k.mean(0)).conj(), turn.mean(0)).real
    still = (x[0][:, rotary.unrotated].astype(float) for x in (layer.query, layer.key[:, ::2]))
    g += rotary.scale * np.einsum("qu,ku->qk", *still)
    np.testing.assert_allclose(form.f(query), f, rtol=0, atol=1e-12)
    np.testing.assert_allclose(form.g(query), g, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_is_never_broken(rotary, seed):
    _, query, form, _ = make_form(rotary, seed=seed)
    residual = form.logits(query) - form.f(query)[:, :, None] - form.g(query)[:, None]
    assert (np.abs(residual) <= form.bound(query) + 1e-12).all()


def test_one_pair_of_aligned_phases_reaches_the_bound():
    """The bound is tight: with one pair, a cell where the residual's summand is real has |residual| = bound."""
    rotary = replace(make_rotary(1), frequency=np.array([np.pi]), scale=1.0)
    key = np.array([[1.0 + 0j], [-1.0]])
    form = closed_form(key, key.mean(0), 1, turns_at(rotary, np.arange(2)))
    query = np.array([[1.0 + 0j]])
    np.testing.assert_allclose(np.abs(form.residual(query)), form.bound(query), atol=1e-14)
    assert form.bound(query).min() > 0.9


def test_a_broken_bound_is_not_reported_as_a_result(monkeypatch):
    _, query, form, _ = make_form(make_rotary())
    monkeypatch.setattr(type(form), "bound", lambda self, query, out: 0 * self.logits(query))
    with pytest.raises(ArithmeticError, match="bound"):
        additivity_of(query, form)


def test_probe_is_what_a_dense_computation_gives(rotary):
    layer, query, form, distances = make_form(rotary)
    values = additivity_of(query, form)
    w = dense_logits(layer.query[0], layer.key[0, ::2], rotary, distances)
    sums = form.f(query)[:, :, None] + form.g(query)[:, None]
    for number, (cells, predicted) in enumerate(zip(w, sums, strict=True)):
        fit = cells.mean(1, keepdims=True) + cells.mean(0) - cells.mean()
        r = np.corrcoef(cells.ravel(), fit.ravel())[0, 1]
        assert values.r_additive[number] == pytest.approx(r, abs=1e-10)
        assert values.interaction[number] == pytest.approx(1 - r**2, abs=1e-10)
        closed = np.corrcoef(cells.ravel(), predicted.ravel())[0, 1]
        assert values.r_closed_form[number] == pytest.approx(closed, abs=1e-10)
        left = cells - predicted
        assert values.residual_rms[number] == pytest.approx(np.sqrt((left**2).mean()), abs=1e-10)
        assert values.residual_max[number] == pytest.approx(np.abs(left).max(), abs=1e-10)
        assert values.logit_rms[number] == pytest.approx(np.sqrt((cells**2).mean()), abs=1e-10)
        assert values.bound_mean[number] == pytest.approx(form.bound(query)[number].mean(), abs=1e-10)


def test_on_the_grids_own_means_the_closed_form_is_the_additive_fit():
    """Row mean + column mean - mean of w is f + g when kbar is the mean over the grid's own keys."""
    rotary = make_rotary(3, 2)
    layer, query, form, distances = make_form(rotary)
    own = closed_form(form.key, form.key.mean(0), 3, form.turn)
    w = dense_logits(layer.query[0], layer.key[0, ::2], rotary, distances)
    fit = w.mean(2, keepdims=True) + w.mean(1, keepdims=True) - w.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(own.f(query)[:, :, None] + own.g(query)[:, None], fit, atol=1e-10)
    values = additivity_of(query, own)
    np.testing.assert_allclose(values.r_closed_form, values.r_additive, atol=1e-12)


def test_an_additive_model_has_no_interaction():
    """Fast pairs whose keys are constant and slow (here, still) pairs whose keys vary: w = f + g exactly."""
    generator = np.random.default_rng(0)
    rotary = Rotary(0.5, 1.2, np.arange(4), np.arange(4, 8), np.array([1.0, 0.3, 0.0, 0.0]), np.arange(8, 10))
    key = generator.standard_normal((LENGTH, 10))
    key[:, [0, 1, 4, 5]] = generator.standard_normal(4)
    query = generator.standard_normal((5, 10))
    form = closed_form(
        as_components(key, rotary), as_components(key, rotary).mean(0), 4, turns_at(rotary, np.arange(LENGTH))
    )
    values = additivity_of(rotary.scale * as_components(query, rotary), form)
    np.testing.assert_allclose(values.r_additive, 1, atol=1e-12)
    np.testing.assert_allclose(values.r_closed_form, 1, atol=1e-12)
    np.testing.assert_allclose(values.interaction, 0, atol=1e-12)
    np.testing.assert_allclose(values.residual_max, 0, atol=1e-12)
    np.testing.assert_allclose(values.bound_mean, 0, atol=1e-12)
    assert (values.logit_rms > 0.1).all()


@pytest.mark.parametrize("frequency", [2 * np.pi * 3 / LENGTH, 0.7, 0.05, 1e-3])
def test_a_purely_interacting_model_gives_what_theory_says(frequency):
    """Keys of constant size at phases 2 pi j / K, K >= 3, one pair. Then kbar = 0, so f = 0 and every row of w has
    mean 0 and mean square (scale |q| |k|)^2 / 2, while g = scale Re q c conj(k) has (scale |q| |k| |c|)^2 / 2. Hence
    r_additive = |c|, the interaction is 1 - |c|^2, and |c| = |sin(D t / 2) / (D sin(t / 2))| over D distances: 0 for
    whole turns, 1 for none.
    """
    keys, size, q = 8, 1.7, 0.9 - 0.4j
    key = size * np.exp(2j * np.pi * np.arange(keys) / keys)[:, None]
    rotary = replace(make_rotary(1), frequency=np.array([frequency]))
    form = closed_form(key, key.mean(0), 1, turns_at(rotary, np.arange(LENGTH)))
    values = additivity_of(np.array([[q]]), form)
    c = abs(np.sin(LENGTH * frequency / 2) / (LENGTH * np.sin(frequency / 2)))
    assert values.r_additive[0] == pytest.approx(c, abs=1e-7)
    assert values.interaction[0] == pytest.approx(1 - c**2, abs=1e-12)
    assert values.logit_rms[0] == pytest.approx(abs(q) * size / np.sqrt(2), rel=1e-12)
    assert values.residual_rms[0] == pytest.approx(abs(q) * size * np.sqrt((1 - c**2) / 2), rel=1e-6)
    if c < 1e-12:  # f + g is constant: nothing to correlate with
        assert np.isnan(values.r_closed_form[0])
        assert values.bound_mean[0] == pytest.approx(abs(q) * size, rel=1e-12)
    else:
        assert values.r_closed_form[0] == pytest.approx(c, rel=1e-9)


@pytest.mark.parametrize("length", [8, 64])
def test_the_bound_is_small_where_keys_are_constant_or_turns_few(length):
    """Pair by pair the bound is at most |q| |k - kbar| min(2, t (L - 1)): no key spread or no turn, no residual."""
    rotary = make_rotary(6)
    layer = make_features(rotary, 1, 1, length)
    _, query, key = next(heads_as_components(layer, rotary))
    form = closed_form(key, key.mean(0), 6, turns_at(rotary, np.arange(length)))
    reach = np.minimum(2, rotary.frequency * (length - 1))
    ceiling = np.einsum("qm,km,m->qk", np.abs(query), np.abs(key - key.mean(0)), reach)
    assert (form.bound(query) <= ceiling[:, None] + 1e-12).all()


def test_the_rows_of_a_layer(rotary):
    layer, grid = make_features(rotary), make_grid(LENGTH, 3, 10, 7)
    table = measure_additivity(layer, rotary, grid)
    assert table.schema == ADDITIVITY
    assert len(table) == 4 * 3
    assert table["sequence"].unique().to_pylist() == [3] and table["layer"].unique().to_pylist() == [1]
    assert table["head"].to_pylist() == np.repeat(np.arange(4), 3).tolist()
    assert table["query"].to_pylist() == list(range(LENGTH - 3, LENGTH)) * 4
    w = dense_logits(layer.query[3, -3:], layer.key[1, grid.keys], rotary, grid.distances)
    assert table["logit_rms"].to_pylist()[9:] == pytest.approx(np.sqrt((w**2).mean((1, 2))).tolist(), rel=1e-9)


def test_a_layer_without_rotary_dimensions_is_not_averaged_in():
    """Its logits do not see distance: r 1 would be true and say nothing, so there is none."""
    rotary = ROTARIES["nothing turns"]
    table = measure_additivity(make_features(rotary), rotary, make_grid(LENGTH, 3, 10, 7))
    for name in ("r_additive", "interaction", "r_closed_form", "bound_mean", "residual_rms", "residual_max"):
        assert table[name].null_count == len(table), name
    assert table["logit_rms"].null_count == 0


def test_a_grid_has_both_ends_and_the_last_queries():
    grid = make_grid(256, 16, 128, 128)
    assert grid.queries.tolist() == list(range(240, 256))
    for points in (grid.keys, grid.distances):
        assert points[0] == 0 and points[-1] == 255 and set(np.diff(points)) <= {2, 3}
    assert make_grid(8, 8, 8, 8).keys.tolist() == list(range(8))


@pytest.mark.parametrize(
    ("sizes", "name"), [((33, 8, 8), "queries"), ((8, 33, 8), "keys"), ((8, 8, 33), "distances"), ((4, 0, 4), "keys")]
)
def test_a_grid_that_the_sequence_cannot_hold_is_refused(sizes, name):
    with pytest.raises(UserError, match=rf"mechanism.{name} is .* 32 tokens") as caught:
        make_grid(32, *sizes)
    assert "\n" not in str(caught.value)


def write_features(path, layers: list[Features]) -> None:
    with features_file.writer(path, layers[0].query.shape[-1], {"model": "m"}) as out:
        for layer in layers:
            out.write_table(features_file.to_table(layer))


@pytest.mark.parametrize("unrotated", [0, 6])
def test_null_r_is_what_keys_without_a_mean_give(unrotated):
    """Many keys and queries of independent normal dimensions: f all but vanishes and the pairs are independent."""
    rotary = make_rotary(8, unrotated)
    grid = make_grid(400, 50, 400, 40)
    table = measure_additivity(centred(rotary, 400), rotary, grid)
    mean = 1 - table["interaction"].to_numpy().mean()
    assert null_r_additive({0: rotary}, grid.distances) == pytest.approx(np.sqrt(mean), abs=0.02)


def centred(rotary: Rotary, length: int) -> Features:
    """One head of independent normal queries and keys, the keys of mean exactly 0."""
    generator = np.random.default_rng(0)
    query, key = generator.standard_normal((2, 1, length, 2 * len(rotary.frequency) + len(rotary.unrotated)))
    return Features(0, 0, query.astype(np.float32), (key - key.mean(1, keepdims=True)).astype(np.float32))


def test_null_r_leaves_out_layers_without_rotary_dimensions():
    rotary, distances = make_rotary(), np.arange(LENGTH)
    assert null_r_additive({0: rotary, 1: ROTARIES["nothing turns"]}, distances) == null_r_additive(
        {0: rotary}, distances
    )
    assert np.isnan(null_r_additive({0: ROTARIES["nothing turns"]}, distances))


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


def test_probes_are_read_by_duckdb(tmp_path):
    rotary, path = make_rotary(), tmp_path / "model=m" / "shard-0000.parquet"
    parts = [
        measure_additivity(make_features(rotary, seed=seed), rotary, make_grid(LENGTH, 3, 10, 7)) for seed in (0, 1)
    ]
    parquet.write_parquet(path, parquet.batched(parts), ADDITIVITY, {"model": "m"})
    query = f"SELECT count(*), avg(r_additive), any_value(model) FROM read_parquet('{path}', hive_partitioning = true)"
    count, mean, model = duckdb.sql(query).fetchall()[0]
    assert (count, model) == (24, "m")
    assert mean == pytest.approx(np.mean(pa.concat_tables(parts)["r_additive"].to_numpy()))
    assert parquet.open_parquet(path).num_row_groups == 1


def test_rotary_round_trip_keeps_the_waves(rotary):
    """What is stored of a rotation is all that the closed form needs."""
    (back,) = rope_file.from_table(rope_file.to_table([0], [rotary], [0.0])).values()
    vectors = np.random.default_rng(0).standard_normal((3, 2 * len(rotary.frequency) + len(rotary.unrotated)))
    np.testing.assert_array_equal(as_components(vectors, back), as_components(vectors, rotary))
