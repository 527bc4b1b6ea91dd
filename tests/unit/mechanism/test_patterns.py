"""What each frequency pair gives to f, g and the interaction, and the shape of queries and keys in it."""

import duckdb
import numpy as np
import pytest

from triaxis.base import parquet
from triaxis.mechanism.complex_form import heads_as_components, turns_at
from triaxis.mechanism.patterns import concentration, constancy, measure_layer, moments, turns_over, variances
from triaxis.mechanism.schema import PATTERNS
from unit.vectors import LENGTH, ROTARIES, dense_logits, make_features, make_rotary


@pytest.fixture(params=ROTARIES)
def rotary(request):
    return ROTARIES[request.param]


def by_row(table) -> dict[tuple, dict]:
    return {(row["head"], row["first_token"], row["pair"]): row for row in table.to_pylist()}


def dense_variances(cells: np.ndarray) -> tuple[float, float, float]:
    """Two-way analysis of variance of w (queries, distances, keys), averaged over the queries."""
    mean = cells.mean((1, 2), keepdims=True)
    row, column = cells.mean(2, keepdims=True), cells.mean(1, keepdims=True)
    parts = row - mean, column - mean, cells - row - column + mean
    return tuple(float((part**2).mean()) for part in parts)  # type: ignore[return-value]


@pytest.mark.parametrize("start", [0, 1])
def test_contributions_add_up_to_the_analysis_of_variance(rotary, start):
    layer = make_features(rotary)
    table = measure_layer(layer, rotary)
    assert table.schema == PATTERNS
    for head in range(4):
        vectors = layer.query[head, start:], layer.key[head // 2, start:]
        dense = dense_variances(dense_logits(*vectors, rotary, range(LENGTH)))
        rows = [row for (h, first, _), row in by_row(table).items() if h == head and first == (start == 0)]
        for name, expected in zip(("f_variance", "g_variance", "interaction_variance"), dense, strict=True):
            assert sum(row[name] for row in rows) == pytest.approx(expected, abs=1e-9), name


def test_a_contribution_is_the_covariance_of_a_wave_with_the_whole():
    rotary = ROTARIES["partial"]
    _, query, key = next(heads_as_components(make_features(rotary), rotary))
    turn = turns_at(rotary, np.arange(LENGTH))
    centred = key - key.mean(0)
    components = np.einsum("qm,km,dm->mqdk", query, centred.conj(), turn - turn.mean(0)).real
    expected = [(component * components.sum(0)).mean() for component in components]
    np.testing.assert_allclose(variances(query, key, turn)[2], expected, atol=1e-12)
    components = np.einsum("qm,m,dm->mqd", query, key.mean(0).conj(), turn - turn.mean(0)).real
    np.testing.assert_allclose(
        variances(query, key, turn)[0], [(w * components.sum(0)).mean() for w in components], atol=1e-12
    )


def test_moments_of_independent_products_multiply():
    x, y = np.random.default_rng(0).standard_normal((2, 5, 3)) + 1j * np.random.default_rng(1).standard_normal(
        (2, 5, 3)
    )
    products = (x[:, None] * y).reshape(25, 3)
    both, direct = moments(x) * moments(y), moments(products)
    np.testing.assert_allclose(both.hermitian, direct.hermitian, atol=1e-12)
    np.testing.assert_allclose(both.plain, direct.plain, atol=1e-12)


def test_a_pair_carries_what_was_put_into_it():
    """Pair 0 turns and has constant keys: all of f. Pair 1 stands still and its keys vary: all of g."""
    rotary = make_rotary(2)
    rotary = type(rotary)(1.0, 1.0, rotary.real, rotary.imaginary, np.array([0.9, 0.0]), rotary.unrotated)
    layer = make_features(rotary, 1, 1)
    layer.key[0, :, [rotary.real[0], rotary.imaginary[0]]] = 1.5
    rows = by_row(measure_layer(layer, rotary))
    first, second = rows[0, True, 0], rows[0, True, 1]
    assert first["f_variance"] > 0.1 and abs(first["g_variance"]) < 1e-12
    assert second["g_variance"] > 0.1 and abs(second["f_variance"]) < 1e-12
    assert abs(first["interaction_variance"]) < 1e-12 and abs(second["interaction_variance"]) < 1e-12
    assert first["key_constancy"] == pytest.approx(1) and first["key_concentration"] == pytest.approx(1)


def test_norm_shares_sum_to_one_and_shares_lie_in_the_unit_interval(rotary):
    rows = by_row(measure_layer(make_features(rotary), rotary))
    pairs = [row for (_, _, pair), row in rows.items() if pair is not None]
    for name in ("norm_share", "key_constancy", "key_concentration", "query_concentration"):
        assert all(0 <= row[name] <= 1 + 1e-12 for row in pairs), name
    if pairs:
        whole = [sum(row["norm_share"] for (h, f, p), row in rows.items() if (h, f) == (2, False) and p is not None)]
        assert whole == pytest.approx([1.0])


def test_unrotated_dimensions_have_a_row_of_their_own():
    rows = by_row(measure_layer(make_features(ROTARIES["partial"]), ROTARIES["partial"]))
    row = rows[0, True, None]
    assert row["frequency"] is row["turns"] is row["norm_share"] is row["key_constancy"] is None
    assert row["g_variance"] != 0
    assert abs(row["f_variance"]) < 1e-12 and abs(row["interaction_variance"]) < 1e-12


def test_a_layer_without_rotary_dimensions_is_reported_as_such():
    rows = by_row(measure_layer(make_features(ROTARIES["nothing turns"]), ROTARIES["nothing turns"]))
    assert {pair for _, _, pair in rows} == {None}
    assert len(rows) == 4 * 2


def test_the_first_token_can_dominate_and_is_reported_apart():
    rotary = make_rotary()
    layer = make_features(rotary)
    layer.key[:, 0] *= 100
    rows = by_row(measure_layer(layer, rotary))
    assert sum(rows[0, True, pair]["g_variance"] for pair in range(4)) > 100 * sum(
        abs(rows[0, False, pair]["g_variance"]) for pair in range(4)
    )


def test_concentration_and_constancy():
    phases = np.exp(2j * np.pi * np.arange(8) / 8)
    values = np.stack([phases, np.full(8, 2 - 1j), 0 * phases, np.where(np.arange(8) < 4, 1, 3)], axis=1)
    np.testing.assert_allclose(concentration(values), [0, 1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(constancy(values), [0, 1, np.nan, 4 / 5], atol=1e-12)


def test_turns_are_whole_ones_over_the_context():
    rotary = make_rotary(1)
    rotary = type(rotary)(1.0, 1.0, rotary.real, rotary.imaginary, np.array([2 * np.pi / 10]), rotary.unrotated)
    np.testing.assert_allclose(turns_over(rotary, 31), [3.0])


def test_patterns_are_read_by_duckdb(tmp_path):
    path = tmp_path / "model=m" / "shard-0000.parquet"
    parquet.write_parquet(path, measure_layer(make_features(make_rotary()), make_rotary()), PATTERNS, {})
    query = f"SELECT head, sum(norm_share) FROM read_parquet('{path}') WHERE first_token GROUP BY head ORDER BY head"
    assert duckdb.sql(query).fetchall() == [(head, pytest.approx(1.0)) for head in range(4)]
