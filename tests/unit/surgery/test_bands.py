"""Surgery by frequency: changed vectors against a sum over pairs, and what must follow in models."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from triaxis.attention.capture import Call, attending
from triaxis.attention.layout import probe_layouts
from triaxis.attention.rope import turns_over
from triaxis.base import parquet
from triaxis.base.tables import to_csv
from triaxis.mechanism.schema import PATTERNS
from triaxis.surgery.bands import Band, bands_between, change_band, changed, parts_of_depth, run_bands
from triaxis.surgery.calibrate import calibrate_model
from triaxis.surgery.figures import plot_bands
from triaxis.surgery.schema import BANDS
from triaxis.surgery.summary import by_band, surgery_bands
from triaxis.surgery.variants import CHANGES
from unit.families import SIZES, YARN, build

torch.set_num_threads(1)

LENGTH, EVERY = 24, Band(0.0, np.inf)
GEMMA3 = {"head_dim": 32, "query_pre_attn_scalar": 20, "sliding_window": 8}
FAMILIES = {
    "llama": {},
    "llama, YaRN": {"rope_parameters": YARN},
    "gpt_neox": {"rotary_pct": 0.25},
    "cohere": {},  # neighbouring dimensions are pairs
    "ernie4_5": {"head_dim": 16},  # half of cos and sin
    "gemma3_text": GEMMA3 | {"layer_types": ["sliding_attention", "full_attention"]},  # two frequency tables
}


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def draw(count: int = 2, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, SIZES["vocab_size"], (count, LENGTH), dtype=np.int32)


def model_of(name: str, **settings):
    return build(name.partition(",")[0], **(FAMILIES.get(name, {}) | settings))


def calls_of(model) -> list[Call]:
    calls = []
    with attending(model, probe_layouts(model), lambda call: calls.append(call) or call.plain()):
        model(input_ids=torch.from_numpy(draw()).long(), use_cache=False)
    return calls


def bands_of(model, edges=(0.01, 0.1, 1), batch: int = 2, tokens: np.ndarray | None = None) -> list[dict]:
    layouts = probe_layouts(model)
    forms = calibrate_model(model, layouts, draw(2, 1), batch_tokens=2 * LENGTH)
    tokens = draw() if tokens is None else tokens
    return run_bands(
        model, layouts, tokens, [*range(5, 5 + len(tokens))], forms, batch_tokens=batch * LENGTH, edges=edges
    ).to_pylist()


# The definition


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_band_is_a_sum_over_pairs_of_its_definition(name: str, change: str) -> None:
    for call in calls_of(model_of(name)):
        rotary = call.rotary()
        pairs = np.arange(len(rotary.frequency))[1::2]
        group = call.query.shape[1] // call.key.shape[1]
        phase = torch.rand(call.key.shape[1], len(rotary.frequency), generator=torch.Generator().manual_seed(0)) * 6
        query, key = changed(call, rotary, pairs, change, phase)
        assert query.shape == call.query.shape and key.shape == call.key.shape
        turn = np.exp(1j * np.outer(np.arange(LENGTH), rotary.frequency))
        for b, h, i, j in [(0, 0, 5, 5), (0, 3, 7, 2), (1, 1, 20, 0), (1, 2, 23, 11), (0, 2, 1, 0)]:
            q, k = call.query[b, h, i].double().numpy(), call.key[b, h // group, j].double().numpy()
            expected = rotary.scale * q[rotary.unrotated] @ k[rotary.unrotated]
            scale = rotary.scale * rotary.amplitude**2
            for m, frequency in enumerate(rotary.frequency):
                one, other = (x[rotary.real[m]] + 1j * x[rotary.imaginary[m]] for x in (q, k))
                rotation = np.exp(1j * frequency * (i - j))
                if m in pairs:
                    if change == "fixed phase":
                        other = abs(other) * np.exp(1j * phase[h // group, m].item())
                    else:
                        rotation = {"unrotated": 1, "mean turn": turn[:, m].mean(), "masked": 0}[change]
                expected += scale * (one * np.conj(other) * rotation).real
            found = call.scaling * query[b, h, i].double() @ key[b, h // group, j].double()
            assert found.item() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("change", CHANGES)
def test_no_pair_changed_is_the_model_bit_for_bit(name: str, change: str) -> None:
    for call in calls_of(model_of(name)):
        rotary = call.rotary()
        phase = torch.zeros(call.key.shape[1], len(rotary.frequency))
        output, _ = call.with_vectors(*changed(call, rotary, np.array([], dtype=np.int64), change, phase))
        assert torch.equal(output, call.plain()[0])


def test_the_fixed_phase_is_that_of_the_mean_key_of_the_calibration() -> None:
    """A model whose keys do not depend on the text has its own phases fixed: nothing is lost."""
    model = model_of("llama", attention_bias=True)
    for layer in model.model.layers:
        layer.self_attn.k_proj.weight.zero_()
    rows = [row for row in bands_of(model) if row["change"] == "fixed phase"]
    assert rows and max(row["kl"] for row in rows) <= 1e-6
    other = [row for row in bands_of(model_of("llama")) if row["change"] == "fixed phase"]
    assert max(row["kl"] for row in other) > 1e-5


# Bands


def test_bands_part_all_pairs_and_follow_each_layers_own_frequencies() -> None:
    rotaries = {call.layer: call.rotary() for call in calls_of(model_of("gemma3_text"))}
    bands = bands_between([1, 0.01, 0.1, 50], rotaries, LENGTH)
    assert [band.low for band in bands] == sorted(band.low for band in bands) and bands[0].low == 0
    assert all(one.high == other.low for one, other in pairwise(bands))
    for rotary in rotaries.values():
        turns = turns_over(rotary, LENGTH)
        parts = [band.pairs(rotary, LENGTH) for band in bands]
        assert sorted(np.concatenate(parts).tolist()) == list(range(len(turns)))
        for band, pairs in zip(bands, parts, strict=True):
            assert ((turns[pairs] >= band.low) & (turns[pairs] < band.high)).all()
    sizes = [[len(band.pairs(rotary, LENGTH)) for band in bands] for rotary in rotaries.values()]
    assert sizes[0] != sizes[1]  # two tables


def test_thirds_are_all_layers_in_order() -> None:
    assert parts_of_depth([0, 1, 3, 4, 6]) == {
        "all": [0, 1, 3, 4, 6],
        "first third": [0, 1],
        "middle third": [3, 4],
        "last third": [6],
    }
    assert parts_of_depth([2]) == {"all": [2], "first third": [2]}


# The run


@pytest.mark.parametrize("name", ["llama", "gemma3_text"])
def test_a_slow_pair_unrotated_costs_little_and_every_pair_masked_costs_most(name: str) -> None:
    model = model_of(name)
    slow = [row for row in bands_of(model, [1e-3]) if row["change"] == "unrotated" and row["low"] == 0]
    (wide,) = [bands_of(model, [1e6])]
    masked = [row for row in wide if row["change"] == "masked" and row["layers"] == "all"]
    assert max((row["kl"] for row in slow), default=0) < 1e-2 * max(row["kl"] for row in masked)


def test_rows_cover_every_band_change_and_part_once() -> None:
    model = model_of("llama", num_hidden_layers=3)
    rows = bands_of(model)
    keys = [(row["sequence"], row["change"], row["low"], row["layers"]) for row in rows]
    bands = {row["low"] for row in rows} - {None}
    assert len(set(keys)) == len(keys) == 2 * (1 + len(bands) * len(CHANGES) * 4)
    plain = {row["sequence"]: row for row in rows if row["change"] == "none"}
    assert all(row["kl"] <= 1e-6 and row["agreement"] == 1 for row in plain.values())
    thirds = {row["layers"]: (row["first_layer"], row["last_layer"]) for row in rows if row["low"] is not None}
    assert thirds == {"all": (0, 2), "first third": (0, 0), "middle third": (1, 1), "last third": (2, 2)}


def test_batches_and_cached_blocks_do_not_matter() -> None:
    model = model_of("llama", num_hidden_layers=3)
    one, two = bands_of(model, batch=1), bands_of(model, batch=2)
    found = {tuple(str(row[name]) for name in ("sequence", "change", "low", "layers")): row for row in two}
    for row in one:
        key = tuple(str(row[name]) for name in ("sequence", "change", "low", "layers"))
        assert row["loss"] == pytest.approx(found[key]["loss"], abs=1e-5)


def test_layers_without_rotation_are_left_alone() -> None:
    rows = bands_of(model_of("smollm3", no_rope_layers=[1, 0]))
    assert {row["last_layer"] for row in rows if row["low"] is not None} == {0}


@pytest.mark.parametrize("change", CHANGES)
def test_the_future_stays_unseen(change: str) -> None:
    model = model_of("gemma3_text")
    layouts = probe_layouts(model)
    rotaries = {call.layer: call.rotary() for call in calls_of(model)}
    fixed = {layer: torch.zeros(4, len(rotary.frequency)) for layer, rotary in rotaries.items()}

    def predictions(tokens: np.ndarray) -> torch.Tensor:
        with attending(model, layouts, change_band(EVERY, change, [0, 1], rotaries, fixed)):
            return model(input_ids=torch.from_numpy(tokens).long(), use_cache=False).logits

    tokens = draw()
    other = tokens.copy()
    other[:, 15:] = (other[:, 15:] + 7) % 100 + 3
    torch.testing.assert_close(predictions(tokens)[:, :15], predictions(other)[:, :15])


# The table


def test_the_table_has_means_added_losses_and_the_shares_of_each_band(tmp_path: Path) -> None:
    rows = bands_of(model_of("llama", num_hidden_layers=3), edges=(0.1,))
    file, patterns = (tmp_path / f"{stage}/model=tiny/rows.parquet" for stage in ("bands", "patterns"))
    parquet.write_parquet(file, pa.Table.from_pylist(rows, schema=BANDS), BANDS, {})
    empty = dict.fromkeys(PATTERNS.names)
    pairs = [
        empty
        | {"sequence": n, "layer": layer, "head": head, "first_token": True, "pair": pair, "turns": turns}
        | {"f_variance": 1.0 + pair, "g_variance": 2.0 * layer + pair, "interaction_variance": 1.0}
        for n in (5, 6)
        for layer in range(3)
        for head in (0, 1)
        for pair, turns in ((0, 3.0), (1, 0.05))
    ]
    rest = [pair | {"pair": None, "turns": None, "f_variance": 0.0, "g_variance": 4.0} for pair in pairs[::2]]
    parquet.write_parquet(patterns, pa.Table.from_pylist(pairs + rest, schema=PATTERNS), PATTERNS, {})
    table = by_band([file], [patterns], ["tiny"], 200, 0)
    assert len(table) == 4 * len(CHANGES) * 2
    for row in table:
        own = [r for r in rows if all(r[name] == row[name] for name in ("change", "layers", "low"))]
        plain = np.mean([r["loss"] for r in rows if r["change"] == "none"])
        assert row["sequences"] == len(own) == 2 and np.isnan(row["added_low"])
        assert row["loss"] == pytest.approx(np.mean([r["loss"] for r in own]))
        assert row["added"] == pytest.approx(row["loss"] - plain)
        assert row["f_share"] == pytest.approx(2 / 3 if row["low"] == 0 else 1 / 3)
        layers = range(own[0]["first_layer"], own[0]["last_layer"] + 1)
        total = sum(2.0 * layer + 2.0 * layer + 1 + 4.0 for layer in layers)
        slow = sum(2.0 * layer + 1 for layer in layers)
        fast = total - slow - 4 * len(layers)
        assert row["g_share"] == pytest.approx((slow if row["low"] == 0 else fast) / total)
    (tmp_path / "bands.csv").write_text(to_csv(table))
    drawn = surgery_bands(tmp_path / "bands.csv", "tiny")
    assert list(drawn) == ["all", "first third", "middle third", "last third"]
    assert len(plot_bands(drawn).axes) == 8
