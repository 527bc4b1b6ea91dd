"""Additivity from second moments, against every cell of every grid; on models built to be additive or not; its null."""

import numpy as np
import pytest
import torch

from triaxis.attention.rope import Rotary
from triaxis.mechanism.additivity import Additivity, additivity_of, contributions_of, grid_of, scramble, varying
from triaxis.mechanism.closed_form import closed_form
from triaxis.mechanism.complex_form import heads_as_components
from triaxis.mechanism.complex_form import turns_at as turns_in_numpy
from triaxis.mechanism.components import sizes, to_components, turns_at
from triaxis.mechanism.moments import moments
from unit.vectors import LENGTH, ROTARIES, dense_logits, make_features, make_rotary

HEADS, KEY_HEADS = 4, 2


@pytest.fixture(params=ROTARIES)
def rotary(request) -> Rotary:
    return ROTARIES[request.param]


def components_of(rotary: Rotary, seed: int = 0, length: int = LENGTH) -> tuple[torch.Tensor, torch.Tensor]:
    layer = make_features(rotary, HEADS, KEY_HEADS, length, seed)
    query, key = (torch.from_numpy(x).double() for x in (layer.query, layer.key))
    return to_components(query, rotary, rotary.scale), to_components(key, rotary)


def measure(query: torch.Tensor, key: torch.Tensor, turn: torch.Tensor) -> Additivity:
    return additivity_of(query, sizes(query), grid_of(key, varying(turn)))


def one_head(query: np.ndarray, key: np.ndarray, turn: np.ndarray) -> Additivity:
    """(n, components) each."""
    return measure(*(torch.from_numpy(x)[None].to(torch.complex128) for x in (query, key)), torch.from_numpy(turn))


def dense(cells: np.ndarray) -> dict[str, float]:
    """What additivity is of one query, from its logits (distances, keys): the two-way analysis of variance."""
    row, column = cells.mean(1, keepdims=True), cells.mean(0, keepdims=True)
    fit = row + column - cells.mean()
    parts = {"f": row.var(), "g": column.var(), "interaction": ((cells - fit) ** 2).mean()}
    return {f"{name}_variance": value for name, value in parts.items()} | {
        "r_additive": np.corrcoef(cells.ravel(), fit.ravel())[0, 1],
        "key_independence": parts["f"] / (parts["f"] + parts["interaction"]),
        "distance_independence": parts["g"] / (parts["g"] + parts["interaction"]),
    }


@pytest.mark.parametrize("name", [name for name in ROTARIES if name not in ("nothing turns", "no motion")])
@pytest.mark.parametrize(("first", "stop"), [(0, LENGTH), (1, LENGTH), (0, 9)])
def test_additivity_is_that_of_every_cell(name, first, stop):
    """All queries, keys and distances; without the first token, whose distances stay; of the first tokens alone."""
    rotary, distances = ROTARIES[name], np.arange(stop)
    layer = make_features(rotary, HEADS, KEY_HEADS)
    query, key = components_of(rotary)
    found = measure(query[:, first:stop], key[:, first:stop], turns_at(rotary, torch.from_numpy(distances)))
    for head in range(HEADS):
        group = HEADS // KEY_HEADS
        vectors = layer.query[head, first:stop], layer.key[head // group, first:stop]
        for place, cells in enumerate(dense_logits(*vectors, rotary, distances)):
            for column, expected in dense(cells).items():
                value = float(getattr(found, column)[head, place])
                assert value == pytest.approx(expected, abs=1e-10, rel=1e-10), column


def test_the_bounds_mean_is_that_of_every_cell(rotary):
    layer = make_features(rotary, HEADS, KEY_HEADS)
    query, key = components_of(rotary)
    found = measure(query, key, turns_at(rotary, torch.arange(LENGTH)))
    turn = turns_in_numpy(rotary, np.arange(LENGTH))
    for head, own, keys in heads_as_components(layer, rotary):
        form = closed_form(keys, turn, len(rotary.frequency), keys.mean(0), turn.mean(0))
        np.testing.assert_allclose(found.bound_mean[head], form.bound(own).mean((1, 2)), rtol=0, atol=1e-10)


def test_contributions_are_covariances_with_the_whole_and_add_up():
    rotary = ROTARIES["partial"]
    query, key = components_of(rotary)
    turn = turns_at(rotary, torch.arange(LENGTH))
    grid = grid_of(key, varying(turn))
    found = contributions_of(query, grid)
    for head in range(HEADS):
        q, k, e = query[head].numpy(), key[head // 2].numpy(), turn.numpy()
        left, swing = k - k.mean(0), e - e.mean(0)
        f = np.einsum("qm,m,dm->mqd", q, k.mean(0).conj(), swing).real
        g = np.einsum("qm,km,m->mqk", q, left.conj(), e.mean(0)).real
        rest = np.einsum("qm,km,dm->mqdk", q, left.conj(), swing).real
        for name, parts in (("f", f), ("g", g), ("interaction", rest)):
            expected = [(part * parts.sum(0)).mean() for part in parts]
            np.testing.assert_allclose(found[name][head], expected, rtol=0, atol=1e-12)
    values = additivity_of(query, sizes(query), grid)
    for name in ("f", "g", "interaction"):
        np.testing.assert_allclose(found[name].sum(-1), getattr(values, f"{name}_variance").mean(-1), atol=1e-12)


def test_moments_of_independent_products_multiply():
    x, y = torch.randn(2, 5, 3, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    products = (x[:, None] * y).reshape(25, 3)
    both, direct = moments(x) * moments(y), moments(products)
    for name in ("hermitian", "plain"):
        torch.testing.assert_close(getattr(both, name), getattr(direct, name), rtol=0, atol=1e-12)
    torch.testing.assert_close(moments(x).hermitian, x.mT @ x.conj() / 5, rtol=0, atol=1e-12)
    torch.testing.assert_close(moments(x).plain, x.mT @ x / 5, rtol=0, atol=1e-12)


def test_components_on_tensors_are_those_in_numpy(rotary):
    layer = make_features(rotary, HEADS, KEY_HEADS)
    query, key = components_of(rotary)
    for head, own, keys in heads_as_components(layer, rotary):
        np.testing.assert_allclose(query[head], own, rtol=0, atol=1e-14)
        np.testing.assert_allclose(key[head // 2], keys, rtol=0, atol=1e-14)
    turn = turns_at(rotary, torch.arange(LENGTH))
    np.testing.assert_allclose(turn, turns_in_numpy(rotary, np.arange(LENGTH)), rtol=0, atol=1e-15)


def test_an_additive_model_has_no_interaction():
    """Fast pairs whose keys are constant and slow (here, still) pairs whose keys vary: w = f + g exactly."""
    generator = np.random.default_rng(0)
    rotary = Rotary(0.5, 1.2, np.arange(4), np.arange(4, 8), np.array([1.0, 0.3, 0.0, 0.0]), np.arange(8, 10))
    key, query = generator.standard_normal((2, 1, LENGTH, 10))
    key[..., [0, 1, 4, 5]] = generator.standard_normal(4)
    components = [to_components(torch.from_numpy(x), rotary) for x in (query, key)]
    found = measure(*components, turns_at(rotary, torch.arange(LENGTH)))
    for name in ("r_additive", "key_independence", "distance_independence"):
        np.testing.assert_allclose(getattr(found, name), 1, atol=1e-12)
    np.testing.assert_allclose(found.interaction_variance, 0, atol=1e-24)
    np.testing.assert_allclose(found.bound_mean, 0, atol=1e-12)
    assert (found.f_variance > 1e-4).all() and (found.g_variance > 1e-4).all()


@pytest.mark.parametrize("frequency", [2 * np.pi * 3 / LENGTH, 0.7, 0.05, 1e-3])
def test_a_purely_interacting_model_gives_what_theory_says(frequency):
    """Keys of constant size at phases 2 pi j / K, K >= 3, one pair. Then kbar = 0, so f = 0 and every row of w has
    mean 0 and mean square (scale |q| |k|)^2 / 2, while g = scale Re q c conj(k) has (scale |q| |k| |c|)^2 / 2. Hence
    r_additive = |c|, key independence is 0, distance independence |c|^2, and |c| = |sin(D t / 2) / (D sin(t / 2))| over
    D distances: 0 for whole turns, 1 for none.
    """
    keys, size, q = 8, 1.7, 0.9 - 0.4j
    key = size * np.exp(2j * np.pi * np.arange(keys) / keys)[:, None]
    turn = np.exp(1j * frequency * np.arange(LENGTH))[:, None]
    found = one_head(np.array([[q]]), key, turn)
    c = abs(np.sin(LENGTH * frequency / 2) / (LENGTH * np.sin(frequency / 2)))
    whole = (abs(q) * size) ** 2 / 2
    assert float(found.r_additive) == pytest.approx(c, abs=1e-7)
    assert float(found.key_independence) == pytest.approx(0, abs=1e-12)
    assert float(found.distance_independence) == pytest.approx(c**2, abs=1e-12)
    assert float(found.interaction_variance) == pytest.approx(whole * (1 - c**2), rel=1e-6)
    if c < 1e-12:
        assert float(found.bound_mean) == pytest.approx(abs(q) * size, rel=1e-12)


def test_what_does_nothing_has_no_share():
    """Zero queries have no share in anything; where nothing turns, distance does nothing and the key all that is
    done."""
    rotary = ROTARIES["no motion"]
    query, key = components_of(rotary)
    query[:, 0] = 0
    found = measure(query, key, turns_at(rotary, torch.arange(LENGTH)))
    assert found.key_independence.isnan().all()
    for name in ("r_additive", "distance_independence"):
        values = getattr(found, name)
        assert values[:, 0].isnan().all()
        np.testing.assert_allclose(values[:, 1:], 1, atol=1e-12)


def test_scrambled_keys_keep_their_norms_and_what_does_not_turn():
    key = torch.randn(200, 5, dtype=torch.complex128, generator=torch.Generator().manual_seed(0)) + 3
    drawn = scramble(key, 3, (0, 1, 2, 3))
    torch.testing.assert_close(drawn.abs(), key.abs())
    assert torch.equal(drawn[:, 3:], key[:, 3:])
    phases = drawn[:, :3] / drawn[:, :3].abs()
    assert (phases.mean(0).abs() < 0.2).all() and ((phases**2).mean(0).abs() < 0.2).all()
    assert torch.equal(drawn, scramble(key, 3, (0, 1, 2, 3)))
    assert not torch.equal(drawn, scramble(key, 3, (0, 1, 2, 4)))


def test_scrambled_phases_end_key_independence_and_not_r_additive():
    """Slow pairs whose keys have a large mean: position says the same to every key, until their phases are drawn anew.
    r_additive stays high all the same, since logits that hardly see position are additive for free."""
    rotary = make_rotary(6, seed=3)
    rotary = type(rotary)(1.0, 1.0, rotary.real, rotary.imaginary, np.geomspace(2e-3, 1e-4, 6), rotary.unrotated)
    query, key = components_of(rotary, length=400)
    key += 6
    turn = turns_at(rotary, torch.arange(400))
    null = torch.stack([scramble(own, 6, (0, n)) for n, own in enumerate(key)])
    own, scrambled = measure(query, key, turn), measure(query, null, turn)
    assert own.key_independence.mean() > 0.7 and scrambled.key_independence.mean() < 0.05
    assert scrambled.r_additive.mean() > 0.9
