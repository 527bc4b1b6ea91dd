"""What each frequency pair gives to f, g and the interaction, and the shape of queries and keys in it."""

import numpy as np
import pytest
import torch

from triaxis.attention.rope import turns_over
from triaxis.mechanism.components import sizes
from triaxis.mechanism.measure import Mechanism
from triaxis.mechanism.patterns import shapes_of
from triaxis.mechanism.schema import PATTERNS
from unit.mechanism.tables import column, tables_of
from unit.vectors import LENGTH, ROTARIES, dense_logits, make_features, make_rotary


@pytest.fixture(params=ROTARIES)
def rotary(request):
    return ROTARIES[request.param]


def stages_of(layer, rotary):
    return tables_of(Mechanism(layer.query.shape[1], 2), [layer], {layer.layer: rotary})


def by_row(layer, rotary) -> dict[tuple, dict]:
    rows = stages_of(layer, rotary)["patterns"].to_pylist()
    return {(row["head"], row["first_token"], row["pair"]): row for row in rows}


def dense_variances(cells: np.ndarray) -> tuple[float, float, float]:
    """Two-way analysis of variance of w (queries, distances, keys), averaged over the queries."""
    mean = cells.mean((1, 2), keepdims=True)
    row, column = cells.mean(2, keepdims=True), cells.mean(1, keepdims=True)
    parts = row - mean, column - mean, cells - row - column + mean
    return tuple(float((part**2).mean()) for part in parts)  # type: ignore[return-value]


@pytest.mark.parametrize("start", [0, 1])
def test_contributions_add_up_to_the_analysis_of_variance(rotary, start):
    layer = make_features(rotary)
    table = stages_of(layer, rotary)["patterns"]
    assert table.schema == PATTERNS
    for head in range(4):
        vectors = layer.query[head, start:], layer.key[head // 2, start:]
        dense = dense_variances(dense_logits(*vectors, rotary, range(LENGTH)))
        for name, expected in zip(("f_variance", "g_variance", "interaction_variance"), dense, strict=True):
            assert column(table, name, head=head, first_token=start == 0).sum() == pytest.approx(expected, abs=1e-9), (
                name
            )


def test_contributions_add_up_to_the_variances_of_additivity(rotary):
    """Of each head, with the first token and without it, averaged over its queries."""
    stages = stages_of(make_features(rotary), rotary)
    for head, first in np.ndindex(4, 2):
        chosen = {"head": head, "first_token": bool(first)}
        for name in ("f_variance", "g_variance", "interaction_variance"):
            queries = column(stages["additivity"], name, phases="own", **chosen)
            assert len(queries) == LENGTH - 1 + first
            if not np.isnan(queries).all():
                pairs = column(stages["patterns"], name, **chosen).sum()
                assert pairs == pytest.approx(queries.mean(), rel=1e-10, abs=1e-14), name


def test_a_pair_carries_what_was_put_into_it():
    """Pair 0 turns and has constant keys: all of f. Pair 1 stands still and its keys vary: all of g."""
    rotary = make_rotary(2)
    rotary = type(rotary)(1.0, 1.0, rotary.real, rotary.imaginary, np.array([0.9, 0.0]), rotary.unrotated)
    layer = make_features(rotary, 1, 1)
    layer.key[0, :, [rotary.real[0], rotary.imaginary[0]]] = 1.5
    rows = by_row(layer, rotary)
    first, second = rows[0, True, 0], rows[0, True, 1]
    assert first["f_variance"] > 0.1 and abs(first["g_variance"]) < 1e-12
    assert second["g_variance"] > 0.1 and abs(second["f_variance"]) < 1e-12
    assert abs(first["interaction_variance"]) < 1e-12 and abs(second["interaction_variance"]) < 1e-12
    assert first["key_constancy"] == pytest.approx(1) and first["key_concentration"] == pytest.approx(1)


def test_norm_shares_sum_to_one_and_shares_lie_in_the_unit_interval(rotary):
    rows = by_row(make_features(rotary), rotary)
    pairs = [row for (_, _, pair), row in rows.items() if pair is not None]
    for name in ("norm_share", "key_constancy", "key_concentration", "query_concentration"):
        assert all(0 <= row[name] <= 1 + 1e-12 for row in pairs), name
    if pairs:
        whole = [sum(row["norm_share"] for (h, f, p), row in rows.items() if (h, f) == (2, False) and p is not None)]
        assert whole == pytest.approx([1.0])


def test_the_shape_of_a_pair_is_that_of_its_vectors():
    rotary = ROTARIES["amplitude"]
    layer = make_features(rotary)
    rows = by_row(layer, rotary)
    for (head, first, pair), row in rows.items():
        if pair is not None:
            start = 0 if first else 1
            q, k = (
                rotary.amplitude * rotary.to_complex(x[start:])[:, pair]
                for x in (layer.query[head], layer.key[head // 2])
            )
            assert row["key_constancy"] == pytest.approx(abs(k.mean()) ** 2 / (abs(k) ** 2).mean())
            assert row["key_concentration"] == pytest.approx(abs((k / abs(k)).mean()))
            assert row["query_concentration"] == pytest.approx(abs((q / abs(q)).mean()))
    q, k = (rotary.to_complex(x) for x in (layer.query[3], layer.key[1]))
    norm = abs(q).mean(0) * abs(k).mean(0)
    assert [rows[3, True, pair]["norm_share"] for pair in range(4)] == pytest.approx((norm / norm.sum()).tolist())


def test_unrotated_dimensions_have_a_row_of_their_own():
    row = by_row(make_features(ROTARIES["partial"]), ROTARIES["partial"])[0, True, None]
    assert row["frequency"] is row["turns"] is row["norm_share"] is row["key_constancy"] is None
    assert row["g_variance"] != 0
    assert abs(row["f_variance"]) < 1e-12 and abs(row["interaction_variance"]) < 1e-12


def test_a_layer_without_rotary_dimensions_is_reported_as_such():
    rows = by_row(make_features(ROTARIES["nothing turns"]), ROTARIES["nothing turns"])
    assert {pair for _, _, pair in rows} == {None}
    assert len(rows) == 4 * 2


def test_the_first_token_can_dominate_and_is_reported_apart():
    rotary = make_rotary()
    layer = make_features(rotary)
    layer.key[:, 0] *= 100
    rows = by_row(layer, rotary)
    assert sum(rows[0, True, pair]["g_variance"] for pair in range(4)) > 100 * sum(
        abs(rows[0, False, pair]["g_variance"]) for pair in range(4)
    )


def test_concentration_and_constancy():
    phases = np.exp(2j * np.pi * np.arange(8) / 8)
    values = np.stack([phases, np.full(8, 2 - 1j), 0 * phases, np.where(np.arange(8) < 4, 1, 3)], axis=1)
    tensor = torch.from_numpy(values)[None]
    shape, rest = shapes_of(tensor, sizes(tensor))
    np.testing.assert_allclose(shape.concentration[0], [0, 1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(shape.constancy[0], [0, 1, np.nan, 4 / 5], atol=1e-12)
    np.testing.assert_allclose(rest.concentration[0], [1 / 7, 1, 0, 1], atol=1e-12)


def test_turns_are_whole_ones_over_the_context():
    rotary = make_rotary(1)
    rotary = type(rotary)(1.0, 1.0, rotary.real, rotary.imaginary, np.array([2 * np.pi / 10]), rotary.unrotated)
    np.testing.assert_allclose(turns_over(rotary, 31), [3.0])
