"""Tolerance: measures against their definition, and the plain run kept and shared."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from triaxis.attention.layout import probe_layouts
from triaxis.attention.replay import attention_modules
from triaxis.base import parquet
from triaxis.base.choices import PERTURBATIONS
from triaxis.base.errors import UserError
from triaxis.base.tables import to_csv
from triaxis.tolerance import figures
from triaxis.tolerance.displacement import Displacement, displace, from_table, to_table
from triaxis.tolerance.perturb import perturbing
from triaxis.tolerance.plain import States, read_states, run_plain, states_to_tables
from triaxis.tolerance.run import mean_cosine, run_perturbation
from triaxis.tolerance.schema import COSINES, TOLERANCE
from triaxis.tolerance.summary import curves, tolerance_by_fraction
from unit.families import SIZES

LENGTH, NUMBERS, FRACTIONS = 20, [4, 5, 6], [0.0, 0.3, 1.0]


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def draw(count: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, SIZES["vocab_size"], (count, LENGTH), dtype=np.int32)


def displacements() -> dict[tuple[int, float], Displacement]:
    units = np.repeat(np.arange(11), [1, 2, 3, 1, 2, 3, 2, 2, 1, 2, 1])
    return {(n, p): displace(units, p, 2, [0, n]) for n in NUMBERS for p in FRACTIONS}


def plain_file(model, path: Path, batch: int = 2) -> Path:
    states = [*run_plain(model, draw(), batch * LENGTH)]
    rows = [table for n, each in zip(NUMBERS, states, strict=True) for table in states_to_tables(n, each)]
    with parquet.parquet_writer(path, rows[0].schema, {}) as writer:
        for table in rows:
            writer.write_table(table)
    return path


def run(model, perturbation: str, path: Path, batch: int = 2, layers=None) -> tuple[pa.Table, pa.Table]:
    results = run_perturbation(
        *(model, probe_layouts(model), perturbation, draw(), NUMBERS, read_states(path), displacements()),
        batch_tokens=batch * LENGTH,
        layers=layers,
    )
    rows, cosines = zip(*results, strict=True)
    return pa.concat_tables(rows), pa.concat_tables(cosines)


def perturbed_predictions(model, perturbation: str, number: int, fraction: float) -> np.ndarray:
    """The model's own predictions (length, vocabulary) for one sequence, alone."""
    ids = torch.from_numpy(draw()[NUMBERS.index(number)])[None].long()
    layouts = probe_layouts(model) if perturbation == "feature" else {}
    with perturbing(model, layouts, perturbation, lambda ids: [displacements()[number, fraction]]):
        return model(input_ids=ids, use_cache=False).logits[0].double().numpy()


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)) - x.max(-1, keepdims=True)


# The plain run


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_hooks_of_accelerate_stay_and_change_nothing(build_model, tmp_path, hooked, state_of, perturbation):
    model = build_model("llama")
    expected = run(model, perturbation, plain_file(model, tmp_path / "plain.parquet"))
    before = state_of(hooked(model))
    found = run(model, perturbation, plain_file(model, tmp_path / "hooked.parquet"))
    assert all(own.equals(other) for own, other in zip(found, expected, strict=True))
    assert state_of(model) == before


def test_the_states_are_what_each_attention_module_gives(build_model, tmp_path):
    model, outputs = build_model("llama"), {}
    handles = [
        module.register_forward_hook(lambda module, args, output, layer=layer: outputs.update({layer: output[0]}))
        for layer, module in attention_modules(model).items()
    ]
    model(input_ids=torch.from_numpy(draw()).long(), use_cache=False)
    for handle in handles:
        handle.remove()
    states = [*read_states(plain_file(model, tmp_path / "plain.parquet", batch=3))]
    assert [sorted(each.attention) for each in states] == [[0, 1]] * 3
    for row, each in enumerate(states):
        for layer, output in each.attention.items():
            assert torch.equal(output, outputs[layer][row])


def test_a_damaged_file_of_states_is_one_line(build_model, tmp_path):
    path = plain_file(build_model("llama"), tmp_path / "plain.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"plain\.parquet is not a whole Parquet file"):
        [*read_states(path)]


# The measures


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_rows_are_their_definition(build_model, tmp_path, perturbation):
    model = build_model("llama")
    rows = run(model, perturbation, plain_file(model, tmp_path / "plain.parquet"))[0].to_pylist()
    assert len(rows) == len(NUMBERS) * len(FRACTIONS) * LENGTH
    plain_logs = {n: log_softmax(perturbed_predictions(model, "text", n, 0.0)) for n in NUMBERS}
    logs = {(n, p): log_softmax(perturbed_predictions(model, perturbation, n, p)) for n in NUMBERS for p in FRACTIONS}
    for row in rows:
        number, fraction, t = row["sequence"], row["fraction"], row["position"]
        moved, tokens = displacements()[number, fraction], draw()[NUMBERS.index(number)]
        new_position = moved.new_position if perturbation == "text" else np.arange(LENGTH)
        text = tokens[moved.order] if perturbation == "text" else tokens
        assert row["new_position"] == moved.new_position[t]
        assert (row["moved_fraction"], row["displacement"]) == (moved.moved_fraction, moved.mean_shift)
        plain, own = plain_logs[number][t], logs[number, fraction][new_position[t]]
        assert row["kl"] == pytest.approx((np.exp(plain) * (plain - own)).sum(), abs=2e-5)
        assert row["agreement"] == (own.argmax() == plain.argmax())
        if t == LENGTH - 1 or new_position[t + 1] < new_position[t]:
            assert row["loss"] is None
        else:
            assert row["loss"] == pytest.approx(-own[tokens[t + 1]], abs=2e-5)
        if new_position[t] == LENGTH - 1:
            assert row["perturbed_loss"] is None
        else:
            assert row["perturbed_loss"] == pytest.approx(-own[text[new_position[t] + 1]], abs=2e-5)
    undefined = [row for row in rows if row["loss"] is None and row["position"] < LENGTH - 1]
    assert bool(undefined) == (perturbation == "text")


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_nothing_moved_is_the_plain_run(build_model, tmp_path, perturbation):
    model = build_model("llama")
    rows, cosines = run(model, perturbation, plain_file(model, tmp_path / "plain.parquet"))
    own = [row for row in rows.to_pylist() if row["fraction"] == 0]
    assert all(row["agreement"] and row["kl"] == 0 and row["loss"] == row["perturbed_loss"] for row in own)
    still = [row["cosine"] for row in cosines.to_pylist() if row["fraction"] == 0]
    assert still == pytest.approx([1] * len(still), abs=1e-12)


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_cosines_are_their_definition_and_compare_the_same_token(build_model, tmp_path, perturbation):
    model = build_model("llama")
    rows = run(model, perturbation, plain_file(model, tmp_path / "plain.parquet"))[1].to_pylist()
    assert len(rows) == len(NUMBERS) * len(FRACTIONS) * SIZES["num_hidden_layers"]
    outputs = {}
    attention = model.model.layers[1].self_attn
    handle = attention.register_forward_hook(lambda module, args, output: outputs.update(own=output[0][0].numpy()))
    for row in [row for row in rows if row["layer"] == 1]:
        perturbed_predictions(model, "text", row["sequence"], 0.0)
        plain = outputs["own"]
        perturbed_predictions(model, perturbation, row["sequence"], row["fraction"])
        new_position = (
            displacements()[row["sequence"], row["fraction"]].new_position
            if perturbation == "text"
            else np.arange(LENGTH)
        )
        own = outputs["own"][new_position]
        cosine = (plain * own).sum(1) / np.linalg.norm(plain, axis=1) / np.linalg.norm(own, axis=1)
        assert row["cosine"] == pytest.approx(cosine.mean(), abs=1e-5)
    handle.remove()


@pytest.mark.parametrize("perturbation", ["text", "feature"])
def test_batches_do_not_matter(build_model, tmp_path, perturbation):
    model = build_model("qwen3", head_dim=16)
    path = plain_file(model, tmp_path / "plain.parquet")
    one, three = (run(model, perturbation, path, batch)[0].to_pylist() for batch in (1, 3))
    order = {(row["sequence"], row["fraction"], row["position"]): row for row in three}
    assert len(one) == len(order)
    for row in one:
        other = order[row["sequence"], row["fraction"], row["position"]]
        for name in ("loss", "perturbed_loss", "kl"):
            assert row[name] == (None if other[name] is None else pytest.approx(other[name], abs=1e-5))


def test_chosen_layers_must_be_the_models(build_model, tmp_path):
    model = build_model("llama")
    path = plain_file(model, tmp_path / "plain.parquet")
    with pytest.raises(UserError, match=r"tolerance\.layers \[7\] are out of range: the model has layers 0 to 1"):
        run(model, "feature", path, layers=[1, 7])
    one = run(model, "feature", path, layers=[1])[1].to_pylist()
    first = [row["cosine"] for row in one if row["layer"] == 0]
    assert first == pytest.approx([1] * len(first), abs=1e-9)
    assert min(row["cosine"] for row in one if row["layer"] == 1) < 0.999


def test_half_precision_survives_its_file(build_model, tmp_path):
    model = build_model("llama").to(torch.bfloat16)
    path = plain_file(model, tmp_path / "plain.parquet")
    assert pq.read_schema(path).field("vector").type.value_type == pa.float32()
    rows = run(model, "position", path)[0].to_pylist()
    assert all(row["kl"] == 0 for row in rows if row["fraction"] == 0)


def test_displacements_survive_their_table():
    before = displacements()
    after = from_table(to_table(before), 0)
    assert after.keys() == before.keys()
    for key, one in before.items():
        assert (after[key].order == one.order).all() and after[key].moved_fraction == one.moved_fraction
        assert (after[key].offsets() == one.offsets()).all()


# The tables


@pytest.fixture
def written(build_model, tmp_path: Path) -> list[Path]:
    """Files of tolerance/ of a tiny model and a control, two perturbations."""
    files = []
    for name, family in (("tiny", "llama"), ("tiny-random", "qwen3")):
        model = build_model(family, head_dim=16)
        plain = plain_file(model, tmp_path / f"{name}.parquet")
        for perturbation in ("text", "position"):
            files.append(tmp_path / f"tolerance/model={name}/perturbation={perturbation}/shard-0000.parquet")
            parquet.write_parquet(files[-1], run(model, perturbation, plain)[0], TOLERANCE, {})
    return files


def test_the_table_is_pooled_over_tokens_and_paired_with_the_plain_run(written):
    files = written
    rows = tolerance_by_fraction(files, ["tiny", "tiny-random"], ["text", "position"], 200, 0)
    assert [(row["model"], row["perturbation"], row["fraction"]) for row in rows] == [
        (model, perturbation, fraction)
        for model in ("tiny", "tiny-random")
        for perturbation in ("text", "position")
        for fraction in FRACTIONS
    ]
    read = pq.read_table(files[0]).to_pylist()  # tiny, text
    plain = {(row["sequence"], row["position"]): row["loss"] for row in read if row["fraction"] == 0}
    for row in rows[:3]:
        own = [each for each in read if each["fraction"] == row["fraction"]]
        defined = [each for each in own if each["loss"] is not None]
        loss = np.mean([each["loss"] for each in defined])
        before = np.mean([plain[each["sequence"], each["position"]] for each in defined])
        assert row["perplexity"] == pytest.approx(np.exp(loss))
        assert row["ratio"] == pytest.approx(np.exp(loss - before))
        text = np.mean([each["perturbed_loss"] for each in own if each["perturbed_loss"] is not None])
        whole = np.mean([value for value in plain.values() if value is not None])
        assert row["perturbed_ratio"] == pytest.approx(np.exp(text - whole))
        assert row["sequences"] == 3
        assert np.isnan(row["ratio_low"]) and np.isnan(row["ratio_high"])  # of three sequences
    assert rows[0]["ratio"] == rows[0]["agreement"] == 1
    assert rows[2]["moved_fraction"] == pytest.approx(10 / 11)


def test_one_sequence_has_no_interval_and_a_curve_none_either(written, tmp_path):
    files = written
    alone = pq.read_table(files[0])
    path = tmp_path / "one/model=tiny/perturbation=text/shard-0000.parquet"
    parquet.write_parquet(path, alone.filter(pa.compute.equal(alone["sequence"], 4)), TOLERANCE, {})
    rows = tolerance_by_fraction([path], ["tiny"], ["text"], 200, 0)
    assert np.isnan(rows[1]["ratio_low"])
    (tmp_path / "tolerance.csv").write_text(to_csv(rows))
    curve = curves(tmp_path / "tolerance.csv")["tiny"]["text"]
    assert np.isnan(curve.low).all() and np.isnan(curve.high).all() and (curve.fraction == FRACTIONS).all()


def test_figures_draw_the_models_that_they_are_given_alone(tmp_path):
    rows = [
        {"model": f"small.step{step}", "perturbation": "text", "fraction": fraction}
        | dict.fromkeys(("ratio", "ratio_low", "ratio_high"), 1.0)
        for step in (0, 20)
        for fraction in FRACTIONS
    ]
    (tmp_path / "tolerance.csv").write_text(to_csv(rows))
    ratios = figures.tolerance(str(tmp_path / "tolerance.csv"), ["small.step20"])
    files = []
    for step in (0, 20):
        cosine = {"sequence": 4, "fraction": 1.0, "moved_fraction": 1.0, "displacement": 1.0, "layer": 0, "cosine": 0.5}
        files.append(str(tmp_path / f"cosines/model=small.step{step}/perturbation=text/shard-0000.parquet"))
        parquet.write_parquet(files[-1], pa.Table.from_pylist([cosine], schema=COSINES), COSINES, {})
    cosines = figures.cosines(files, ["small.step20"])
    assert [panel.get_title() for panel in ratios.axes if panel.get_title()] == ["small.step20"]
    (panel,) = cosines.axes
    assert [text.get_text() for text in panel.texts] == ["text", "small.step20"]


def test_a_vector_of_zeros_has_no_cosine():
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randn(4, 3, generator=generator) for _ in range(2))
    expected = torch.cosine_similarity(before.double(), after.double(), dim=-1)
    before[1], after[2] = 0, 0
    assert mean_cosine(before, after) == pytest.approx(expected[[0, 3]].mean().item())
    assert mean_cosine(before, before) == pytest.approx(1)
    assert mean_cosine(torch.zeros(4, 3), after) is None


def test_states_hold_one_layer_each(build_model):
    states = next(run_plain(build_model("llama"), draw(1), 1))
    assert isinstance(states, States)
    assert [len(table) for table in states_to_tables(9, states)] == [LENGTH] * 3
    assert [table["layer"][0].as_py() for table in states_to_tables(9, states)] == [0, 1, None]
