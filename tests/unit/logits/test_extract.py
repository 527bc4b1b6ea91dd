"""Running a model over sequences: what is streamed, what is checked, and weights as trained, drawn or dequantised."""

import json
import re
import threading
from pathlib import Path

import accelerate
import gguf
import numpy as np
import psutil
import pytest
import torch
from transformers import LlamaConfig

from triaxis.attention.layout import probe_layouts
from triaxis.attention.rope import Rotary
from triaxis.base.errors import UserError
from triaxis.logits import extract
from triaxis.logits.extract import CHECKED, checked_rows, extract_features
from triaxis.model.devices import choose_device, describe_device
from triaxis.model.gguf import dequantise
from triaxis.model.head import predict
from triaxis.model.loading import load_model
from triaxis.model.memory import free_memory
from triaxis.model.tokenizer import load_tokenizer
from unit.families import ROTARY

CPU = torch.device("cpu")
TOKENS = np.random.default_rng(0).integers(3, 128, (5, 12)).astype(np.int32)
NUMBERS = [4, 5, 6, 7, 9]


@pytest.fixture
def llama(build_model):
    return build_model("llama", num_hidden_layers=3)


def extracted(model, tokens=TOKENS, numbers=NUMBERS, layers=None, batch_tokens=24, tolerance=1e-5):
    """Features by (sequence, layer), in the order in which they were written, rotations and errors."""
    features = {}

    def write(layer):
        assert (layer.sequence, layer.layer) not in features
        features[layer.sequence, layer.layer] = layer

    rotaries, errors = extract_features(
        model,
        probe_layouts(model),
        tokens,
        numbers,
        layers,
        batch_tokens=batch_tokens,
        tolerance=tolerance,
        write=write,
    )
    return features, rotaries, errors


def message(function, *arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The features


def test_features_are_the_projections_of_each_sequence(llama):
    """Layer 0 of a Llama: the normed embeddings times the query and key weights."""
    features, *_ = extracted(llama)
    first = llama.model.layers[0]
    with torch.no_grad():
        for row, number in enumerate(NUMBERS):
            hidden = first.input_layernorm(llama.model.embed_tokens(torch.from_numpy(TOKENS[row]).long()))
            query, key = (project(hidden).unflatten(-1, (-1, 16)).transpose(0, 1) for project in projections(first))
            np.testing.assert_allclose(features[number, 0].query, query, rtol=0, atol=1e-5)
            np.testing.assert_allclose(features[number, 0].key, key, rtol=0, atol=1e-5)


def projections(layer):
    return layer.self_attn.q_proj, layer.self_attn.k_proj


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_features_do_not_depend_on_the_batch(llama, batch):
    expected, *_ = extracted(llama, batch_tokens=24)
    found, *_ = extracted(llama, batch_tokens=batch * TOKENS.shape[1])
    assert set(found) == set(expected) == {(number, layer) for number in NUMBERS for layer in range(3)}
    for place, layer in found.items():
        np.testing.assert_allclose(layer.query, expected[place].query, rtol=0, atol=1e-6)
        np.testing.assert_allclose(layer.key, expected[place].key, rtol=0, atol=1e-6)


def test_features_do_not_depend_on_the_other_sequences(llama):
    expected, *_ = extracted(llama)
    found, *_ = extracted(llama, TOKENS[3:4], NUMBERS[3:4])
    assert set(found) == {(7, layer) for layer in range(3)}
    for place, layer in found.items():
        np.testing.assert_allclose(layer.query, expected[place].query, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("batch_tokens", "passes"), [(1, [[4], [5], [6], [7], [9]]), (35, [[4, 5], [6, 7], [9]]), (36, [[4, 5, 6], [7, 9]])]
)
def test_layers_are_written_as_they_are_run(llama, batch_tokens, passes):
    features, *_ = extracted(llama, batch_tokens=batch_tokens)
    assert list(features) == [(number, layer) for own in passes for layer in range(3) for number in own]


def test_only_the_layers_asked_for_are_written(llama):
    expected, *_ = extracted(llama)
    features, rotaries, errors = extracted(llama, layers=[2, 0])
    assert set(features) == {(number, layer) for number in NUMBERS for layer in (0, 2)}
    assert set(rotaries) == set(errors) == {0, 2}
    for place, layer in features.items():
        np.testing.assert_array_equal(layer.query, expected[place].query)


def test_each_layer_has_its_rotation_and_a_small_check(llama):
    _, rotaries, errors = extracted(llama)
    assert sorted(rotaries) == sorted(errors) == [0, 1, 2]
    assert all(isinstance(rotary, Rotary) and rotary.scale == 0.25 for rotary in rotaries.values())
    assert all(0 < error < 2e-6 for error in errors.values())


def test_half_precision_is_stored_as_float32_and_checked_as_it_is(llama):
    features, _, errors = extracted(llama.to(torch.bfloat16), tolerance=0.1)
    assert features[4, 0].query.dtype == np.float32
    assert 1e-4 < max(errors.values()) < 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["OLMo", "OLMo 2", "OLMo 3", "FlexOlmo", "ERNIE 4.5", "Command R (Cohere)"])
def test_half_precision_runs_where_the_rotation_is_in_float32(build_model, name, dtype):
    """Their cos and sin are in float32, or their products: what the attention is given is in the model's own type."""
    family, settings, *_ = ROTARY[name]
    model = build_model(family, **settings)
    expected, _, _ = extracted(model)
    features, _, errors = extracted(model.to(dtype), tolerance=0.1)
    assert set(features) == set(expected)
    assert 0 < max(errors.values()) < 10 * torch.finfo(dtype).eps
    for place, layer in features.items():
        size = np.abs(expected[place].query).max()
        assert np.abs(layer.query - expected[place].query).max() < 50 * torch.finfo(dtype).eps * size


# The checks


def test_layers_out_of_range_are_named(llama):
    said = message(extracted, llama, layers=[0, 3, 8])
    assert "features.layers [3, 8] are out of range: the model has layers 0 to 2" in said


def test_a_tolerance_that_is_exceeded_stops_the_run(llama):
    written = []
    said = message(
        extract_features,
        llama,
        probe_layouts(llama),
        TOKENS,
        NUMBERS,
        None,
        batch_tokens=24,
        tolerance=1e-12,
        write=written.append,
    )
    assert "layer 0: logits rebuilt from the features differ from the model's own by" in said
    assert "above features.tolerance 1.0e-12" in said and "float32" in said
    assert not written


def test_the_check_sees_a_wrong_rotation(llama, monkeypatch):
    right = extract.measure_rotary

    def wrong(*arguments):
        rotary = right(*arguments)
        return Rotary(**(vars(rotary) | {"frequency": 1.01 * rotary.frequency}))

    monkeypatch.setattr(extract, "measure_rotary", wrong)
    assert "layer 0: logits rebuilt" in message(extracted, llama, tolerance=1e-4)


@pytest.mark.parametrize("length", [1, 2, 40, 64, 65, 500])
def test_the_rows_checked_are_drawn_for_each_layer_and_hold_the_last(length):
    rows = [checked_rows(layer, length) for layer in range(20)]
    for own in rows:
        assert len(own) == min(CHECKED, length) and own[-1] == length - 1
        assert (np.diff(own) > 0).all() and own[0] >= 0
    np.testing.assert_array_equal(checked_rows(3, length), rows[3])
    assert len(np.unique(np.concatenate(rows))) > 0.9 * length


def checked(change=None, length=300, heads=6, key_heads=2, rows=None) -> float:
    """The error of the check of some vectors whose layer rotates them as it should, but for `change(query, key)`."""
    random = np.random.default_rng(0)
    rotary = Rotary(0.3, 1.2, np.arange(3), np.arange(3, 6), np.array([1.0, 0.1, 0.01]), np.array([6, 7]))
    query, key = (random.standard_normal((n, length, 8)).astype(np.float32) for n in (heads, key_heads))
    own_query, own_key = (rotary.rotate(x, np.arange(length)) for x in (query, key))
    if change:
        change(own_query, own_key)
    rows = checked_rows(0, length) if rows is None else rows
    return extract._check(
        query, key, rotary, torch.from_numpy(own_query), torch.from_numpy(own_key), rotary.scale, rows
    )


@pytest.mark.parametrize("position", [0, 1, 123, 298, 299])
def test_the_check_sees_one_key_of_one_head_that_is_wrong(position):
    def change(query, key):
        key[1, position] *= 1.5

    assert checked() == 0 and checked(change) > 0.01


def test_the_check_sees_one_head_that_reads_anothers_keys_and_a_wrong_angle_anywhere():
    def swap(query, key):
        key[:] = key[::-1].copy()

    def late(query, key):
        key[:, 200:, :3], key[:, 200:, 3:6] = key[:, 200:, 3:6].copy(), -key[:, 200:, :3].copy()

    assert checked(swap) > 0.1 and checked(late) > 0.1


def test_the_check_of_all_rows_is_the_largest_difference_over_the_largest_logit():
    def change(query, key):
        query[2, 7, 1] += 0.5
        rotated.append((query.copy(), key.copy()))

    rotated, before = [], []
    error = checked(change, length=20, rows=np.arange(20))
    checked(lambda query, key: before.append((query.copy(), key.copy())), length=20)
    (query, key), (plain, _) = rotated[0], before[0]
    causal = np.tril(np.ones((20, 20), dtype=bool))
    own, rebuilt = (0.3 * np.einsum("hid,hjd->hij", x, key.repeat(3, axis=0))[:, causal] for x in (query, plain))
    assert error == pytest.approx(np.abs(own - rebuilt).max() / np.abs(own).max(), rel=1e-12)


def test_the_check_passes_on_what_is_not_a_number():
    def change(query, key):
        key[0, 5] = np.nan

    assert np.isnan(checked(change))


def test_what_fails_in_writing_ends_the_run(llama):
    written = []

    def write(layer):
        if len(written) == 4:
            raise OSError("no space left")
        written.append((layer.sequence, layer.layer))

    with pytest.raises(OSError, match="no space left"):
        extract_features(
            llama, probe_layouts(llama), TOKENS, NUMBERS, None, batch_tokens=24, tolerance=1e-5, write=write
        )
    assert written == [(4, 0), (5, 0), (4, 1), (5, 1)]


def test_at_most_two_pieces_wait_and_all_are_done_in_order():
    gate, begun, done, handed = threading.Event(), threading.Event(), [], []

    def piece(n):
        begun.set()
        gate.wait()
        done.append(n)

    def hand_all():
        with extract._behind() as hand_over:
            for n in range(6):
                hand_over(lambda n=n: piece(n))
                handed.append(n)

    runner = threading.Thread(target=hand_all)
    runner.start()
    begun.wait()
    runner.join(0.2)
    assert runner.is_alive() and len(handed) <= extract.BEHIND and not done
    gate.set()
    runner.join()
    assert done == handed == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("broken", [0, 2])
def test_weights_that_are_not_finite_name_the_layer(llama, value, broken):
    """Both before the probe and after it, as in a sequence that overflows."""
    layouts = probe_layouts(llama)
    with torch.no_grad():
        llama.model.layers[broken].self_attn.k_proj.weight[3, 5] = value
    said = message(
        extract_features,
        llama,
        layouts,
        TOKENS,
        NUMBERS,
        None,
        batch_tokens=24,
        tolerance=1e-5,
        write=lambda layer: None,
    )
    assert f"layer {broken}: queries or keys are NaN or infinite" in said
    assert f"layer {broken}: queries or keys are NaN or infinite" in message(probe_layouts, llama)


# The models


@pytest.fixture
def folder(llama, tmp_path):
    llama.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def weights(model) -> torch.Tensor:
    return torch.cat([weight.flatten() for weight in model.parameters()])


def test_a_model_is_loaded_as_trained(llama, folder):
    model = load_model(folder, "float32", CPU)
    assert not model.training and torch.equal(weights(model), weights(llama))
    assert weights(load_model(folder, "bfloat16", CPU)).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["Llama 2", "Mixtral", "Gemma 2", "Command R (Cohere)", "GPT-OSS"])
@torch.inference_mode()
def test_the_head_alone_predicts_as_the_model_does(build_model, name):
    """Softcaps and scales of the output included, and the routers of a mixture of experts left out."""
    family, settings, *_ = ROTARY[name]
    model, ids = build_model(family, **settings), torch.from_numpy(TOKENS[:2]).long()
    expected = model(input_ids=ids, use_cache=False).logits
    last = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    assert torch.equal(predict(model, last), expected)
    assert torch.equal(model(input_ids=ids, use_cache=False).logits, expected)


def test_a_model_larger_than_memory_is_refused_before_it_is_loaded(tmp_path):
    """There are no weights to load: only its configuration is read."""
    config = LlamaConfig(hidden_size=16384, intermediate_size=65536, num_hidden_layers=200, num_attention_heads=128)
    config.save_pretrained(tmp_path)
    said = message(load_model, tmp_path, "bfloat16", CPU)
    assert re.search(r"a model of type 'llama' needs 1\d{3}\.\d GiB .* in bfloat16, and cpu has \d+\.\d GiB free", said)


def test_free_memory_is_that_of_the_control_group_where_it_is_less(monkeypatch):
    machine = psutil.virtual_memory().total
    assert 0 < free_memory(CPU) <= machine
    limits = {"memory.max": "3000000", "memory.current": "1000000", "cgroup": "0::/job"}
    monkeypatch.setattr(Path, "read_text", lambda path: limits[path.name])
    assert free_memory(CPU) == 2_000_000
    limits["memory.max"] = "max"
    assert 2_000_000 < free_memory(CPU) <= machine


def test_random_weights_follow_their_seed(llama, folder):
    torch.manual_seed(5)
    first = load_model(folder, "float32", CPU, random_seed=0)
    torch.manual_seed(6)
    again, other = (load_model(folder, "float32", CPU, random_seed=seed) for seed in (0, 1))
    assert not first.training and first.config.num_hidden_layers == 3
    assert torch.equal(weights(first), weights(again))
    for different in (weights(other), weights(llama)):
        assert (weights(first) != different).float().mean() > 0.9


def test_a_folder_that_cannot_be_loaded_is_named(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        assert f"no model can be loaded from {tmp_path / name}" in message(
            lambda name=name: one_line(load_model, tmp_path / name, "float32", CPU)
        )
    assert "no tokenizer can be loaded from" in message(lambda: one_line(load_tokenizer, tmp_path / "empty"))
    torch.save(load_model(folder, "float32", CPU).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert f"no model can be loaded from {folder}" in message(lambda: one_line(load_model, folder, "float32", CPU))


def test_code_of_its_own_is_not_run(folder, tmp_path):
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    config = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    for seed in (None, 0):
        with pytest.raises(UserError, match="no model can be loaded"):
            load_model(folder, "float32", CPU, seed)
    assert not (tmp_path / "ran").exists()


def one_line(function, *arguments):
    """As a script shows a fault: in one line."""
    try:
        function(*arguments)
    except UserError as error:
        raise UserError(" ".join(str(error).split())) from None


def write_gguf(path, model, quantised: bool) -> None:
    """The model as llama.cpp's converter writes it, with a byte-level tokenizer of one merge."""
    config = model.config
    tokens = ["<unk>", "<s>", "</s>", "ab", *map(chr, range(33, 127)), *(f"x{n}" for n in range(30))]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(12345.0)
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        for projection, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if projection in name:  # GGUF has the pairs of a Llama side by side
                values = values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        own = names.get_name(name, try_suffixes=(".weight",))
        if quantised and values.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(own, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(own, np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("quantised", [False, True])
def test_a_gguf_file_becomes_a_plain_folder(llama, tmp_path, quantised):
    write_gguf(tmp_path / "model.gguf", llama, quantised)
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "old").touch()
    dequantise(tmp_path / "model.gguf", folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.gguf", "plain"]
    assert not (folder / "old").exists() and not list(folder.glob("*.gguf"))
    model = load_model(folder, "float32", CPU)
    assert model.config.rope_parameters["rope_theta"] == 12345.0
    # Q8_0 rounds to 1/127 of the largest of 32 weights, half a step either way.
    error = (weights(model) - weights(llama)).abs().max() / weights(llama).abs().max()
    assert error <= (0.5 / 127 * 1.01 if quantised else 0)
    assert load_tokenizer(folder)("ab!").input_ids == [3, 4]
    extracted(model)


@pytest.mark.parametrize("content", [b"", b"no GGUF at all", None])
def test_a_gguf_file_that_is_damaged_is_named_and_leaves_nothing(llama, tmp_path, content):
    path = tmp_path / "model.gguf"
    write_gguf(path, llama, True)
    path.write_bytes(path.read_bytes()[:20_000] if content is None else content)
    assert "transformers cannot read model.gguf" in message(lambda: one_line(dequantise, path, tmp_path / "plain"))
    assert list(tmp_path.iterdir()) == [path]


# The device


def test_a_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert [choose_device(name) for name in ("cpu", "cuda", "cuda:1")] == [
        CPU,
        torch.device("cuda"),
        torch.device("cuda:1"),
    ]
    assert "run.device 'cuda:2' is not on this machine (2 cuda devices); try 'auto'" in message(choose_device, "cuda:2")
    assert "run.device 'mps' is not on this machine (0 mps devices)" in message(choose_device, "mps")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert "run.device 'cuda' is not on this machine (0 cuda devices)" in message(choose_device, "cuda")


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_the_best_device_there_is(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == torch.device(expected)


def test_layers_that_are_moved_one_by_one_give_the_same_features(llama, folder):
    """As `spread` places a large model: accelerate wraps each forward and moves what it is given. Here to the CPU."""
    plain, *_ = extracted(llama)
    places = dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu")
    places |= {f"model.layers.{layer}": "cpu" for layer in range(3)}
    placed = accelerate.dispatch_model(load_model(folder, "float32", CPU), places, force_hooks=True)
    assert hasattr(placed.model.layers[0].self_attn, "_hf_hook")
    moved, *_ = extracted(placed)
    assert moved.keys() == plain.keys()
    for key, features in plain.items():
        np.testing.assert_array_equal(moved[key].query, features.query)
        np.testing.assert_array_equal(moved[key].key, features.key)


@pytest.mark.parametrize("seed", [None, 0])
def test_spread_loads_what_one_device_would(folder, seed):
    model = load_model(folder, "float32", choose_device("spread"), seed)
    assert not model.training
    assert torch.equal(weights(model).cpu(), weights(load_model(folder, "float32", CPU, seed)))
    extracted(model)


def test_every_device_of_a_model_is_named(monkeypatch):
    assert describe_device(CPU) == describe_device(None) == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {getattr(device, 'index', device) or 0}")
    assert describe_device(torch.device("cuda")) == "GPU 0"
    assert describe_device(None) == "GPU 0, GPU 1"
