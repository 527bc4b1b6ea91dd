"""The closed form, its residual and its bound, cell by cell, on random vectors."""

from dataclasses import replace

import numpy as np
import pytest

from triaxis.attention import rope_file
from triaxis.attention.rope import Rotary
from triaxis.logits.features import Features
from triaxis.mechanism.closed_form import ClosedForm, closed_form, null_r_additive
from triaxis.mechanism.complex_form import Complex, as_components, evenly, heads_as_components, turns_at
from triaxis.mechanism.measure import Mechanism
from unit.mechanism.tables import column, tables_of
from unit.vectors import LENGTH, ROTARIES, dense_logits, make_features, make_rotary


@pytest.fixture(params=ROTARIES)
def rotary(request) -> Rotary:
    return ROTARIES[request.param]


def make_form(rotary: Rotary, seed: int = 0) -> tuple[Features, Complex, ClosedForm, np.ndarray]:
    """A random query and key head of LENGTH positions, scaled components, and their closed form on some of the keys and
    distances."""
    layer = make_features(rotary, 1, 1, seed=seed)
    _, query, key = next(heads_as_components(layer, rotary))
    distances = np.arange(0, LENGTH, 3)
    turn = turns_at(rotary, distances)
    return layer, query, closed_form(key[::2], turn, len(rotary.frequency), key.mean(0), turn.mean(0)), distances


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
    key, turn = np.array([[1.0 + 0j], [-1.0]]), turns_at(rotary, np.arange(2))
    form = closed_form(key, turn, 1, key.mean(0), turn.mean(0))
    query = np.array([[1.0 + 0j]])
    np.testing.assert_allclose(np.abs(form.residual(query)), form.bound(query), atol=1e-14)
    assert form.bound(query).min() > 0.9


def test_on_the_grids_own_means_the_closed_form_is_the_additive_fit():
    """Row mean + column mean - mean of w is f + g when kbar is the mean over the grid's own keys."""
    rotary = make_rotary(3, 2)
    layer, query, form, distances = make_form(rotary)
    own = closed_form(form.key, form.turn, 3, form.key.mean(0), form.turn.mean(0))
    w = dense_logits(layer.query[0], layer.key[0, ::2], rotary, distances)
    fit = w.mean(2, keepdims=True) + w.mean(1, keepdims=True) - w.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(own.f(query)[:, :, None] + own.g(query)[:, None], fit, atol=1e-10)


@pytest.mark.parametrize("length", [8, 64])
def test_the_bound_is_small_where_keys_are_constant_or_turns_few(length):
    """Pair by pair the bound is at most |q| |k - kbar| min(2, t (L - 1)): no key spread or no turn, no residual."""
    rotary = make_rotary(6)
    layer = make_features(rotary, 1, 1, length)
    _, query, key = next(heads_as_components(layer, rotary))
    turn = turns_at(rotary, np.arange(length))
    form = closed_form(key, turn, 6, key.mean(0), turn.mean(0))
    reach = np.minimum(2, rotary.frequency * (length - 1))
    ceiling = np.einsum("qm,km,m->qk", np.abs(query), np.abs(key - key.mean(0)), reach)
    assert (form.bound(query) <= ceiling[:, None] + 1e-12).all()


@pytest.mark.parametrize("unrotated", [0, 6])
def test_null_r_is_what_keys_without_a_mean_give(unrotated):
    """Many keys and queries of independent normal dimensions: f all but vanishes and the pairs are independent."""
    rotary, length = make_rotary(8, unrotated), 400
    generator = np.random.default_rng(0)
    query, key = generator.standard_normal((2, 1, length, 16 + unrotated))
    layer = Features(0, 0, query.astype(np.float32), (key - key.mean(1, keepdims=True)).astype(np.float32))
    table = tables_of(Mechanism(length, 2), [layer], {0: rotary})["additivity"]
    r = column(table, "r_additive", first_token=True, phases="own")
    assert null_r_additive({0: rotary}, length) == pytest.approx(np.sqrt((r**2).mean()), abs=0.02)


def test_null_r_leaves_out_layers_without_rotary_dimensions():
    rotary = make_rotary()
    assert null_r_additive({0: rotary, 1: ROTARIES["nothing turns"]}, LENGTH) == null_r_additive({0: rotary}, LENGTH)
    assert np.isnan(null_r_additive({0: ROTARIES["nothing turns"]}, LENGTH))


def test_what_is_spread_evenly_has_both_ends():
    points = evenly(256, 128)
    assert points[0] == 0 and points[-1] == 255 and set(np.diff(points)) <= {2, 3}
    assert evenly(8, 9).tolist() == list(range(8)) and evenly(8, 1).tolist() == [7]


def test_rotary_round_trip_keeps_the_components(rotary):
    """What is stored of a rotation is all that the closed form needs."""
    (back,) = rope_file.from_table(rope_file.to_table([0], [rotary], [0.0])).values()
    vectors = np.random.default_rng(0).standard_normal((3, 2 * len(rotary.frequency) + len(rotary.unrotated)))
    np.testing.assert_array_equal(as_components(vectors, back), as_components(vectors, rotary))
