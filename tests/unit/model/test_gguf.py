"""GGUF files against the safetensors that they were made from: the same logits, or one line."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from triaxis.base.errors import UserError
from triaxis.model import gguf_keys
from triaxis.model.gguf import dequantise
from triaxis.model.loading import load_model
from triaxis.model.published import read_config
from triaxis.model.whole import check_headers
from triaxis.text.sources import fetch_model_files, parse_source
from unit import families
from unit.families import EXPERTS, GEMMA, LONGROPE, YARN
from unit.model.gguf_files import keys_of, tensors_of, write, write_model

CPU = torch.device("cpu")
IDS = torch.arange(3, 51)[None]
# type in transformers: settings of a tiny model. Gemma's scale is that of a head's size, as llama.cpp has it.
FAMILIES = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 32},
    "qwen2_moe": EXPERTS | {"shared_expert_intermediate_size": 48},
    "qwen3_moe": EXPERTS | {"head_dim": 16, "norm_topk_prob": True},
    "gemma2": GEMMA | {"query_pre_attn_scalar": 32},
    "gemma3_text": GEMMA | {"query_pre_attn_scalar": 32, "num_hidden_layers": 6, "layer_types": None},
    "phi3": {"sliding_window": 8},
    "starcoder2": {},
    "stablelm": {"partial_rotary_factor": 0.5},
    "nemotron": {"partial_rotary_factor": 0.5},
}


def build(family: str, **settings: object) -> PreTrainedModel:
    return families.build(family, **(FAMILIES[family] | settings))


def opened(path: Path) -> PreTrainedModel:
    """As fetch_model and a later rule open a GGUF file."""
    folder = path.with_name("plain")
    dequantise(path, folder)
    check_headers(folder, read_config(folder))
    return load_model(folder, "float32", CPU)


def logits(model: PreTrainedModel, length: int = 48) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS[:, :length]).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_equals_its_safetensors_twin(tmp_path, kinds, family):
    twin = build(family)
    assert torch.equal(logits(opened(write_model(tmp_path / "m.gguf", twin))), logits(twin))
    kinds.saw("GGUF in F32", family, "the logits of its safetensors twin, bit for bit")


@pytest.mark.parametrize("family", ["llama", "gemma2", "qwen3_moe"])
def test_a_quantised_file_equals_its_twin_within_its_rounding(tmp_path, family):
    twin = build(family)
    model = opened(write_model(tmp_path / "m.gguf", twin, quantised=True))
    # Q8_0 rounds to 1/127 of the largest of 32 weights, half a step either way.
    for name, own in twin.state_dict().items():
        largest = own.abs().max()
        assert (model.state_dict()[name] - own).abs().max() <= largest * (0.5 / 127 + 1e-3)
    assert 0 < (logits(model) - logits(twin)).abs().max() < 0.1 * logits(twin).abs().max()


@pytest.mark.parametrize(("quantised", "stored"), [(True, "GGUF Q8_0"), (False, None)])
def test_how_most_weights_are_stored_is_told(tmp_path, quantised, stored):
    path = write_model(tmp_path / "m.gguf", build("llama"), quantised=quantised)
    assert dequantise(path, tmp_path / "plain") == stored


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_tied_head_is_not_in_the_file(tmp_path, family):
    twin = build(family, tie_word_embeddings=True)
    model = opened(write_model(tmp_path / "m.gguf", twin))
    assert model.config.tie_word_embeddings and torch.equal(logits(model), logits(twin))


# Rotations


def llama3_factors(theta: float, head_dim: int, factor: float, original: int) -> np.ndarray:
    """As llama.cpp's converter computes rope_freqs.weight."""
    found = []
    for frequency in 1 / theta ** (np.arange(0, head_dim, 2) / head_dim):
        wavelength = 2 * np.pi / frequency
        smooth = (original / wavelength - 1) / (4 - 1)
        short, long = wavelength < original / 4, wavelength > original / 1
        found.append(1 if short else factor if long else 1 / ((1 - smooth) / factor + smooth))
    return np.array(found, dtype=np.float32)


def test_the_factors_of_llama_3_are_llama3_scaling(tmp_path, kinds):
    """With the numbers of the published models, by which the frequencies are the twin's to the last bit."""
    rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    rope["original_max_position_embeddings"] = 8192
    twin = build("llama", head_dim=64, rope_parameters=rope, max_position_embeddings=131072)
    freqs = llama3_factors(5e5, 64, 8.0, 8192)
    assert 1 < len(set(freqs.tolist())) < 32
    model = opened(write_model(tmp_path / "m.gguf", twin, tensors={"rope_freqs.weight": freqs}))
    assert model.config.rope_parameters == twin.config.rope_parameters
    assert torch.equal(logits(model), logits(twin))
    kinds.saw("GGUF", "rope_freqs.weight of Llama 3.1, 3.2 and 3.3", "llama3 scaling: the twin's logits, bit for bit")


@pytest.mark.parametrize("length", [12, 48])
def test_other_factors_divide_the_frequencies(tmp_path, kinds, length):
    """Llama 3's formula with another original context, of which the file says nothing; below and above its context."""
    twin = build("llama", rope_parameters=families.LLAMA3, max_position_embeddings=64)
    freqs = llama3_factors(1e4, 16, 8.0, 32)
    path = write_model(tmp_path / "m.gguf", twin, tensors={"rope_freqs.weight": freqs}, keys={"context_length": 24})
    model = opened(path)
    plain = 1 / 1e4 ** (torch.arange(8) / 8)
    torch.testing.assert_close(model.model.rotary_emb.inv_freq, plain / torch.from_numpy(freqs), rtol=1e-6, atol=0)
    torch.testing.assert_close(logits(model, length), logits(twin, length), rtol=0, atol=1e-5)
    assert (logits(build("llama"), 48) - logits(twin, 48)).abs().max() > 0.01
    kinds.saw("GGUF", "rope_freqs.weight of other numbers", "frequencies divided by it")


SCALED = {
    "rope.scaling.type yarn": ({"rope_parameters": YARN}, {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0}),
    "rope.scaling.type yarn with its own betas and attention factor": (
        {"rope_parameters": YARN | {"beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 0.5 * 1.13862943611}},
        {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.yarn_beta_fast": 16.0,
            "rope.scaling.yarn_beta_slow": 2.0,
            "rope.scaling.attn_factor": 0.5,
        },
    ),
    "rope.scaling.type linear": (
        {"rope_parameters": families.LINEAR},
        {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
    ),
    "rope.scaling.factor without a type": ({"rope_parameters": families.LINEAR}, {"rope.scaling.factor": 4.0}),
    "rope.scale_linear, its older name": ({"rope_parameters": families.LINEAR}, {"rope.scale_linear": 4.0}),
    "rope.scaling.type none, with a factor": ({}, {"rope.scaling.type": "none", "rope.scaling.factor": 4.0}),
}


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("tried", SCALED)
def test_a_scaled_rotation_is_the_twins(tmp_path, kinds, family, tried):
    settings, keys = SCALED[tried]
    if "yarn" in tried:
        keys = keys | {"rope.scaling.original_context_length": 16, "rope.scaling.finetuned": True}
    twin = build(family, **settings)
    found, expected = logits(opened(write_model(tmp_path / "m.gguf", twin, keys=keys))), logits(twin)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    if settings:
        assert (logits(build(family)) - expected).abs().max() > 0.01
    kinds.saw("GGUF", tried, "the twin's logits")


def test_longropes_two_tensors_are_its_factors(tmp_path, kinds):
    twin = build("phi3", rope_parameters=LONGROPE, original_max_position_embeddings=16)
    tensors = {f"rope_factors_{which}.weight": np.array(LONGROPE[f"{which}_factor"]) for which in ("long", "short")}
    keys = {"rope.scaling.original_context_length": 16}
    keys["rope.scaling.attn_factor"] = float(twin.model.rotary_emb.attention_scaling)
    model = opened(write_model(tmp_path / "m.gguf", twin, keys=keys, tensors=tensors))
    for length in (12, 48):
        torch.testing.assert_close(logits(model, length), logits(twin, length), rtol=0, atol=1e-5)
    kinds.saw("GGUF", "rope_factors_long.weight and rope_factors_short.weight (Phi-3)", "longrope: the twin's logits")


def test_gemma_3_scales_its_full_layers_alone(tmp_path):
    rotation = {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0}
    local = {"rope_type": "default", "rope_theta": 1e4}
    twin = build("gemma3_text", rope_parameters={"full_attention": rotation, "sliding_attention": local})
    keys = {"rope.scaling.type": "linear", "rope.scaling.factor": 8.0}
    assert torch.equal(logits(opened(write_model(tmp_path / "m.gguf", twin, keys=keys))), logits(twin))


@pytest.mark.parametrize(("family", "layers", "expected"), [("gemma2", 46, 16), ("gemma3", 62, 16), ("gemma3", 34, 32)])
def test_the_27b_gemmas_scale_by_their_width(family, layers, expected):
    """No key says so: llama.cpp goes by the number of layers."""
    model = build("gemma3_text" if family == "gemma3" else family)
    keys = {f"{family}.{key}": value for key, value in (keys_of(model) | {"block_count": layers}).items()}
    settings = gguf_keys.read_settings(
        "m.gguf", keys | {"general.architecture": family}, {"token_embd.weight": (128, 64)}, {}
    )
    assert settings["query_pre_attn_scalar"] == expected


def test_a_stated_scale_of_gemmas_logits_is_kept(tmp_path):
    twin = build("gemma2", query_pre_attn_scalar=20)
    model = opened(write_model(tmp_path / "m.gguf", twin, keys={"attention.scale": 20**-0.5}))
    torch.testing.assert_close(logits(model), logits(twin), rtol=0, atol=1e-5)


FREQS = np.linspace(1, 4, 8)
REFUSED = {
    "an attention.scale that a Llama has not": ({"keys": {"attention.scale": 0.5}}, "0.5"),
    "a window that a Llama has not": (
        {"keys": {"attention.sliding_window": 16}},
        "llama.attention.sliding_window = 16",
    ),
    "experts in a Llama (Mixtral)": ({"keys": {"expert_count": 4}}, "llama.expert_count = 4"),
    "a cap that a Llama has not": ({"keys": {"attn_logit_softcapping": 50.0}}, "llama.attn_logit_softcapping"),
    "a key of tomorrow": ({"keys": {"attention.tomorrow": 1}}, "llama.attention.tomorrow = 1"),
    "a rotation of half of each head": ({"keys": {"rope.dimension_count": 8}}, "8 of 16"),
    "an unknown rope.scaling.type": ({"keys": {"rope.scaling.type": "dynamic"}}, "'dynamic'"),
    "yarn with rope_freqs.weight too": (
        {"keys": {"rope.scaling.type": "yarn"}, "tensors": {"rope_freqs.weight": FREQS}},
        "rope_freqs.weight",
    ),
    "yarn's log multiplier": (
        {"keys": {"rope.scaling.type": "yarn", "rope.scaling.yarn_log_multiplier": 0.1}},
        "yarn_log_multiplier",
    ),
    "no head count": ({"keys": {"attention.head_count": None}}, "llama.attention.head_count"),
    "a tensor is missing": ({"tensors": {"blk.1.attn_q.weight": None}}, "model.layers.1.self_attn.q_proj.weight"),
    "the embedding is missing": ({"tensors": {"token_embd.weight": None}}, "lacks token_embd.weight"),
    "fewer layers than block_count": ({"keys": {"block_count": 3}}, "9 tensors"),
    "more layers than block_count": ({"keys": {"block_count": 1}}, "blk.1."),
    "biases that a Llama has not": ({"tensors": {"blk.0.attn_q.bias": np.zeros(64)}}, "blk.0.attn_q.bias"),
    "a tensor of another shape": ({"tensors": {"blk.0.ffn_up.weight": np.zeros((64, 64))}}, "[64, 64]"),
    "an adapter": ({"more": {"general.type": "adapter"}}, "adapter"),
}


@pytest.mark.parametrize("tried", REFUSED)
def test_what_a_llama_of_transformers_has_not_is_named(tmp_path, kinds, tried):
    changes, word = REFUSED[tried]
    path = write_model(tmp_path / "m.gguf", build("llama"), **changes)
    line = kinds.refused("GGUF", tried, tmp_path, lambda: opened(path))
    assert word in line and "m.gguf" in line
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.gguf"]


@pytest.mark.parametrize("architecture", ["falcon", "command-r", "gpt-oss", "deepseek2", "clip", "nonsense"])
def test_an_architecture_that_no_test_holds_is_named(tmp_path, kinds, architecture):
    model = build("llama")
    path = write(tmp_path / "m.gguf", architecture, keys_of(model), tensors_of(model))
    line = kinds.refused("GGUF of another architecture", architecture, tmp_path, lambda: opened(path))
    assert f"'{architecture}'" in line


# Parts


def split(folder: Path, model: PreTrainedModel, count: int = 3) -> list[Path]:
    """Write a model as llama.cpp splits one: keys in the first part, tensors over all."""
    tensors, keys, paths = list(tensors_of(model).items()), keys_of(model), []
    for number in range(count):
        more = {"split.no": number, "split.count": count, "split.tensors.count": len(tensors)}
        path = folder / f"m-{number + 1:05d}-of-{count:05d}.gguf"
        paths.append(write(path, "llama", keys if number == 0 else {}, dict(tensors[number::count]), more=more))
    return paths


def fetched(*paths: Path, **options: object) -> list[Path]:
    record = fetch_model_files([parse_source(f"path:{path}") for path in paths], options.get("sha256"), None, "unused")
    assert len(record["files"]) == 1 or record["revision"].startswith("sha256:")
    return [Path(record["folder"]) / name for name in record["files"]]


@pytest.mark.parametrize("named", [0, 2])
def test_all_parts_beside_one_are_joined(tmp_path, kinds, named):
    twin = build("llama")
    paths = split(tmp_path, twin)
    found = fetched(paths[named])
    assert sorted(found) == paths
    dequantise(found, tmp_path / "plain")
    assert torch.equal(logits(load_model(tmp_path / "plain", "float32", CPU)), logits(twin))
    assert not list((tmp_path / "plain").glob("*.gguf"))
    kinds.saw("GGUF", "one part of a split file, the others beside it", "joined: the twin's logits, bit for bit")


@pytest.mark.parametrize(("absent", "tried"), [(0, "part 1 of 3 is missing"), (1, "part 2 of 3 is missing")])
def test_a_missing_part_is_named(tmp_path, kinds, absent, tried):
    paths = split(tmp_path, build("llama"))
    paths.pop(absent).unlink()
    line = kinds.refused("GGUF", tried, tmp_path, lambda: fetched(paths[0]))
    assert f"lacks m-0000{absent + 1}-of-00003.gguf" in line


def test_parts_may_be_named_one_by_one(tmp_path):
    """As they are where each is a wheel of its own, and no other lies beside it."""
    paths = split(tmp_path, build("llama"), 2)
    assert sorted(fetched(*reversed(paths))) == paths
    assert sorted(fetched(*paths, sha256=[digest(path) for path in paths])) == paths
    with pytest.raises(UserError, match="2 sources of one model have 1 sha256"):
        fetched(*paths, sha256=digest(paths[0]))
    with pytest.raises(UserError, match="is configured"):
        fetched(*paths, sha256=[digest(path) for path in reversed(paths)])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_sources_that_are_no_parts_of_one_file_are_refused(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match="are the parts of one GGUF file"):
        fetched(tmp_path / "a.gguf", tmp_path / "b.gguf")


def renamed(paths: list[Path]) -> list[Path]:
    """The first part alone, under a name that does not say so."""
    return [paths[0].rename(paths[0].with_name("whole.gguf"))]


def swapped(paths: list[Path]) -> list[Path]:
    """Parts under one another's names."""
    kept = paths[1].with_name("kept")
    shutil.move(paths[0], kept)
    shutil.move(paths[1], paths[0])
    shutil.move(kept, paths[1])
    return paths


DISGUISED = {"a first part whose name does not say so": renamed, "parts under one another's names": swapped}


@pytest.mark.parametrize("tried", DISGUISED)
def test_parts_are_told_by_the_numbers_inside(tmp_path, kinds, tried):
    change: Callable[[list[Path]], list[Path]] = DISGUISED[tried]
    paths = change(split(tmp_path, build("llama"), 2))
    assert "GGUF file" in kinds.refused("GGUF", tried, tmp_path, lambda: dequantise(paths, tmp_path / "plain"))


def test_parts_of_another_file_are_refused(tmp_path):
    paths = split(tmp_path, build("llama"), 2)
    (tmp_path / "other").mkdir()
    other = split(tmp_path / "other", build("llama", num_hidden_layers=3), 2)
    shutil.copy(other[1], paths[1])
    with pytest.raises(UserError, match=r"the parts hold .* tensors, and say 21"):
        dequantise(paths, tmp_path / "plain")


def test_every_architecture_that_is_read_is_tried():
    assert {family.type for family in gguf_keys.FAMILIES.values()} == set(FAMILIES)
    assert set(gguf_keys.FAMILIES) <= set(gguf.MODEL_ARCH_NAMES.values())
