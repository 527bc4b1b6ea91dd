"""The feature perturbation head by head, and what predicts its cost, against their definitions."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from triaxis.attention.capture import Call, attending
from triaxis.attention.layout import probe_layouts
from triaxis.base import parquet
from triaxis.base.errors import UserError
from triaxis.base.stats import rank_correlation
from triaxis.base.tables import to_csv
from triaxis.tolerance.displacement import Displacement, displace
from triaxis.tolerance.figures import plot_predictors
from triaxis.tolerance.heads import run_heads
from triaxis.tolerance.perturb import offset_logits, perturbing
from triaxis.tolerance.predictors import attention_kl, predict_layer, run_predictors, scramble, squares_by_norm
from triaxis.tolerance.schema import PERTURBED_HEADS, PREDICTORS
from triaxis.tolerance.summary import costs_by_head, head_costs, predictions, predictor_ranks
from unit.families import LONGROPE, SIZES, YARN, build

LENGTH, NUMBERS = 20, [4, 5, 6]
FAMILIES = {
    "llama": {},
    "llama, YaRN": {"rope_parameters": YARN},
    "gpt_neox": {"rotary_pct": 0.25},
    "gpt_oss": {"head_dim": 16, "num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 6},
}


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def model_of(name: str, **settings):
    return build(name.partition(",")[0], **(FAMILIES.get(name, {}) | settings))


def draw(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(3, SIZES["vocab_size"], (count, LENGTH), dtype=np.int32)


def displacements() -> list[Displacement]:
    units = np.repeat(np.arange(11), [1, 2, 3, 1, 2, 3, 2, 2, 1, 2, 1])
    return [displace(units, 1.0, 2, [0, number]) for number in NUMBERS]


def heads_of(model, batch: int = 2, layers: list[int] | None = None) -> list[dict]:
    own = draw(), NUMBERS, displacements()
    return run_heads(model, probe_layouts(model), *own, batch_tokens=batch * LENGTH, layers=layers).to_pylist()


def calls_of(model) -> list[Call]:
    calls = []
    with attending(model, probe_layouts(model), lambda call: calls.append(call) or call.plain()):
        model(input_ids=torch.from_numpy(draw()).long(), use_cache=False)
    return calls


# What a head costs


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "gpt_oss"])
def test_a_layer_alone_is_the_feature_perturbation_of_that_layer(name: str) -> None:
    model = model_of(name)
    rows = heads_of(model)
    ids, layouts = torch.from_numpy(draw()).long(), probe_layouts(model)
    plain = model(input_ids=ids, use_cache=False).logits.double().log_softmax(-1)[:, :-1]
    for layer in (0, 1):
        with perturbing(model, layouts, "feature", lambda ids: displacements(), [layer]):
            own = model(input_ids=ids, use_cache=False).logits.double().log_softmax(-1)[:, :-1]
        kl = (plain.exp() * (plain - own)).sum(-1).mean(-1)
        loss = [-x.gather(-1, ids[:, 1:, None])[..., 0].mean(-1) for x in (plain, own)]
        for n, number in enumerate(NUMBERS):
            (row,) = [r for r in rows if (r["sequence"], r["layer"], r["head"]) == (number, layer, None)]
            assert row["kl"] == pytest.approx(kl[n].item(), abs=2e-6)
            assert (row["plain_loss"], row["loss"]) == pytest.approx([x[n].item() for x in loss], abs=1e-5)


def test_a_head_alone_leaves_the_logits_of_the_others() -> None:
    """Each head in turn, from the definition: its logits with distances off, the others' as they are."""
    model = model_of("llama")
    rows, ids = heads_of(model), torch.from_numpy(draw()).long()
    offsets = torch.from_numpy(np.stack([each.offsets() for each in displacements()]))
    plain = model(input_ids=ids, use_cache=False).logits.double().log_softmax(-1)[:, :-1]
    for head in range(4):

        def attend(call: Call, head: int = head):
            logits = call.logits()
            if call.layer == 1:
                rotary = call.rotary()
                q, k = rotary.to_complex(call.query[:, head].numpy()), rotary.to_complex(call.key[:, head // 2].numpy())
                distance = np.subtract.outer(np.arange(LENGTH), np.arange(LENGTH)) + offsets.numpy()
                turned = np.exp(1j * distance[..., None] * rotary.frequency)
                dense = rotary.scale * np.einsum("bim,bjm,bijm->bij", q, k.conj(), turned).real
                logits[:, head] = torch.from_numpy(dense).float()
            return call.with_logits(logits)

        with attending(model, probe_layouts(model), attend):
            own = model(input_ids=ids, use_cache=False).logits.double().log_softmax(-1)[:, :-1]
        kl = (plain.exp() * (plain - own)).sum(-1).mean(-1)
        found = [row["kl"] for row in rows if (row["layer"], row["head"]) == (1, head)]
        assert found == pytest.approx(kl.tolist(), abs=2e-6)


def test_rows_cover_every_layer_and_head_once_and_batches_do_not_matter() -> None:
    model = model_of("llama")
    one, three = heads_of(model, 1), heads_of(model, 3)
    key = [(row["sequence"], row["layer"], row["head"]) for row in one]
    assert len(set(key)) == len(key) == 3 * 2 * 5
    found = {(row["sequence"], row["layer"], row["head"]): row for row in three}
    for row in one:
        other = found[row["sequence"], row["layer"], row["head"]]
        assert row["kl"] == pytest.approx(other["kl"], abs=1e-6)


def test_chosen_layers_are_perturbed_alone() -> None:
    model = model_of("llama")
    assert heads_of(model, layers=[1]) == [row for row in heads_of(model) if row["layer"] == 1]


def test_layers_that_turn_nothing_have_no_cost_and_no_prediction() -> None:
    model = model_of("smollm3", no_rope_layers=[1, 0])
    assert {row["layer"] for row in heads_of(model)} == {0}
    rows = run_predictors(model, probe_layouts(model), draw(), NUMBERS, displacements()).to_pylist()
    assert {row["layer"] for row in rows} == {0}


def test_a_table_that_changes_with_the_largest_position_is_refused() -> None:
    model = build("phi3", rope_parameters=LONGROPE, original_max_position_embeddings=16)
    with pytest.raises(UserError, match="changes with the largest position"):
        heads_of(model)


# What predicts it


@pytest.mark.parametrize("name", FAMILIES)
def test_predictors_are_a_dense_sum_over_pairs_and_cells(name: str) -> None:
    call, offsets = calls_of(model_of(name))[1], displacements()[0].offsets()
    rotary, weights = call.rotary(), call.weights()[0].double().numpy()
    found = predict_layer(call.query[0], call.key[0], call.weights()[0], rotary, torch.from_numpy(offsets), [4, 1])
    query = rotary.scale * rotary.amplitude**2 * rotary.to_complex(call.query[0].numpy())
    scrambled = scramble(call.key[0], rotary, [4, 1])
    own, other = (rotary.to_complex(key.numpy()) for key in (call.key[0], scrambled))
    np.testing.assert_allclose(abs(own), abs(other), rtol=1e-4)
    group = len(query) // len(own)
    distance = np.subtract.outer(np.arange(LENGTH), np.arange(LENGTH))
    swing = np.exp(1j * rotary.frequency * (distance + offsets)[..., None])
    swing = swing - np.exp(1j * rotary.frequency * distance[..., None])
    for head in range(4):
        keys = {
            "f": np.broadcast_to(own[head // group].mean(0), own[0].shape),
            "scrambled": np.broadcast_to(other[head // group].mean(0), own[0].shape),
            "logits": own[head // group],
        }
        a = weights[head]
        for name, key in keys.items():
            change = np.einsum("im,jm,ijm->ij", query[head], key.conj(), swing).real
            variance = (a * change**2).sum(1) - (a * change).sum(1) ** 2
            assert found[name][head] == pytest.approx(variance.mean() / 2, rel=1e-3, abs=1e-7), name
        size = np.einsum("im,jm,ijm->ij", abs(query[head]) ** 2, abs(own[head // group]) ** 2, abs(swing) ** 2) / 2
        assert found["norms"][head] == pytest.approx((a * size).sum(1).mean() / 2, rel=1e-4)
        entropy = -(a * np.log(np.where(a > 0, a, 1))).sum(1).mean()
        assert found["entropy"][head] == pytest.approx(entropy, rel=1e-4)
        norm = abs(query[head]).mean(0) * abs(own[head // group]).mean(0)
        slow = abs(rotary.frequency) * (LENGTH - 1) < 2 * np.pi
        assert found["slow_share"][head] == pytest.approx(norm[slow].sum() / norm.sum(), rel=1e-4)


def test_the_mean_square_over_phases_is_what_drawn_phases_give() -> None:
    call = calls_of(model_of("llama"))[0]
    rotary, offsets = call.rotary(), torch.from_numpy(displacements()[1].offsets())
    found = squares_by_norm(call.query[0], call.key[0], rotary, offsets)
    total, draws = torch.zeros_like(found), 2000
    for n in range(draws):
        key = scramble(call.key[0], rotary, [n])
        still, off = (offset_logits(call.query[:1], key[None], rotary, x[None])[0] for x in (offsets * 0, offsets))
        total += (off - still) ** 2 / draws
    cells = (offsets != 0) & (torch.arange(LENGTH)[:, None] >= torch.arange(LENGTH))
    ratio = total[:, cells] / found[:, cells]
    assert ratio.mean().item() == pytest.approx(1, abs=0.02) and (ratio - 1).abs().max() < 0.3


def test_half_the_variance_is_the_divergence_of_attention_to_second_order() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, change = (torch.randn(3, 50, 50, generator=generator, dtype=torch.float64) for _ in range(2))
    before, after = logits.log_softmax(-1), (logits + 1e-3 * change).log_softmax(-1)
    kl = (before.exp() * (before - after)).sum(-1).mean(-1)
    torch.testing.assert_close(attention_kl(1e-3 * change, before.exp()), kl, rtol=5e-3, atol=0)
    constant = torch.full_like(change, 7.0)
    assert attention_kl(constant, before.exp()).abs().max() < 1e-12


def test_keys_that_are_all_alike_make_f_the_logits() -> None:
    call = calls_of(model_of("llama"))[0]
    alike = call.key[0][:, :1].expand_as(call.key[0])
    offsets = torch.from_numpy(displacements()[0].offsets())
    found = predict_layer(call.query[0], alike, call.weights()[0], call.rotary(), offsets, [0])
    np.testing.assert_allclose(found["f"], found["logits"], rtol=1e-5)
    assert (found["scrambled"] != found["f"]).all()


def test_nothing_moved_predicts_nothing() -> None:
    call = calls_of(model_of("llama"))[0]
    none = torch.zeros(LENGTH, LENGTH, dtype=torch.int64)
    found = predict_layer(call.query[0], call.key[0], call.weights()[0], call.rotary(), none, [0])
    assert all((found[name] == 0).all() for name in ("f", "scrambled", "norms", "logits"))


# The tables


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Path]:
    """Files of perturbed_heads/ and predictors/ of a tiny model: two sequences measured, one predicted from."""
    model, found = model_of("llama", num_hidden_layers=3), []
    layouts, moved = probe_layouts(model), displacements()
    measured = run_heads(model, layouts, draw()[:2], NUMBERS[:2], moved[:2], batch_tokens=2 * LENGTH)
    predicted = run_predictors(model, layouts, draw()[2:], NUMBERS[2:], moved[2:])
    for stage, rows, schema in (("perturbed_heads", measured, PERTURBED_HEADS), ("predictors", predicted, PREDICTORS)):
        found.append(tmp_path / stage / "model=tiny/heads.parquet")
        parquet.write_parquet(found[-1], rows, schema, {})
    return found[0], found[1]


def test_costs_are_means_over_sequences_beside_what_other_sequences_predict(written) -> None:
    heads, predictors = (parquet.read_parquet(path).to_pylist() for path in written)
    assert {row["sequence"] for row in heads}.isdisjoint(row["sequence"] for row in predictors)
    rows = costs_by_head([written[0]], [written[1]])
    assert [(row["layer"], row["head"]) for row in rows] == [(n, h) for n in range(3) for h in (None, 0, 1, 2, 3)]
    for row in rows:
        own = [r for r in heads if (r["layer"], r["head"]) == (row["layer"], row["head"])]
        assert row["sequences"] == len(own) == 2
        assert row["kl"] == pytest.approx(np.mean([r["kl"] for r in own]))
        assert row["loss_added"] == pytest.approx(np.mean([r["loss"] - r["plain_loss"] for r in own]))
        known = [r for r in predictors if r["layer"] == row["layer"] and row["head"] in (None, r["head"])]
        assert row["f"] == pytest.approx(sum(r["f"] for r in known))
        assert row["entropy"] == pytest.approx(np.mean([r["entropy"] for r in known]))


def test_ranks_are_spearmans_and_f_is_held_against_each(written, tmp_path) -> None:
    costs = costs_by_head([written[0]], [written[1]])
    rows = predictions(costs, 200, 0)
    assert len(rows) == 2 * 2 * 6
    heads = [row for row in costs if row["head"] is not None]
    for row in rows:
        own = heads if row["unit"] == "head" else [cost for cost in costs if cost["head"] is None]
        pairs = [[cost[name] for cost in own] for name in (row["predictor"], row["cost"])]
        assert row["units"] == len(own) and row["rank"] == pytest.approx(spearmanr(*pairs).statistic)
        f = next(r for r in rows if all(r[n] == row[n] for n in ("unit", "cost")) and r["predictor"] == "f")
        assert row["behind_f"] == pytest.approx(abs(f["rank"]) - abs(row["rank"]))
        if row["unit"] == "head":
            layers = [[c for c in own if c["layer"] == n] for n in range(3)]
            each = [spearmanr([c[row["predictor"]] for c in part], [c[row["cost"]] for c in part]) for part in layers]
            assert row["within"] == pytest.approx(np.mean([one.statistic for one in each]))
            assert row["rank_low"] <= row["rank"] <= row["rank_high"]
        else:
            assert np.isnan(row["within"]) and np.isnan(row["rank_low"])  # of three layers
    for name, table in (("heads", costs), ("ranks", rows)):
        (tmp_path / f"{name}.csv").write_text(to_csv(table))
    own = head_costs(tmp_path / "heads.csv")["tiny"]
    assert len(own["kl"]) == 12
    assert plot_predictors(own, predictor_ranks(tmp_path / "ranks.csv")["tiny"]).axes


def test_a_constant_has_no_rank() -> None:
    assert np.isnan(rank_correlation(np.ones(5), np.arange(5.0)))
    both = rank_correlation(np.array([[1.0, 2, 2, 3], [3, 2, 1, 0]]), np.array([1.0, 2, 2, 3]))
    assert both.tolist() == pytest.approx([1, spearmanr([3, 2, 1, 0], [1, 2, 2, 3]).statistic])
