"""What a model folder's config.json says: a causal language model as it was published, or one line."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from triaxis.base.errors import UserError
from triaxis.model.loading import load_model
from triaxis.model.published import read_config
from triaxis.model.whole import check_headers
from unit import families
from unit.families import LONGROPE, YARN

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    families.build("llama").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def say(folder: Path, drop: tuple[str, ...] = (), **settings: object) -> Path:
    """Put other settings into config.json."""
    config = json.loads((folder / "config.json").read_text())
    config = {key: value for key, value in config.items() if key not in drop} | settings
    (folder / "config.json").write_text(json.dumps(config))
    return folder


ROTATIONS = {
    "rope_scaling of type mrope on a Llama": (
        {"rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}},
        "'mrope'",
    ),
    "rope_scaling of type yran, a typo": ({"rope_scaling": YARN | {"rope_type": "yran"}}, "'yran'"),
    "rope_scaling of type su on a Llama": ({"rope_scaling": LONGROPE | {"rope_type": "su"}}, "'su'"),
    "rope_scaling of type null": ({"rope_scaling": {"type": None, "factor": 2.0}}, "'None'"),
    "yarn without its factor": ({"rope_scaling": {"type": "yarn"}}, "factor"),
    "longrope without its short factors": (
        {"rope_scaling": {"type": "longrope", "factor": 4.0, "long_factor": LONGROPE["long_factor"]}},
        "short_factor",
    ),
}


@pytest.mark.parametrize("tried", ROTATIONS)
def test_a_rotation_that_transformers_does_not_know_is_named(folder, tmp_path, kinds, tried):
    settings, word = ROTATIONS[tried]
    say(folder, ("rope_parameters",), **settings)
    line = kinds.refused("rotations", tried, tmp_path, lambda: read_config(folder))
    assert word in line and "config.json" in line
    with pytest.raises(UserError):
        load_model(folder, "float32", CPU, random_seed=0)


def test_a_rotation_of_one_layer_type_is_checked_too(tmp_path, kinds):
    families.build("gemma3_text", **families.GEMMA).save_pretrained(tmp_path / "model")
    default = {"rope_type": "default", "rope_theta": 1e4}
    say(tmp_path / "model", rope_parameters={"sliding_attention": default, "full_attention": default | {"type": "x"}})
    read_config(tmp_path / "model")  # rope_type goes before its older name
    say(tmp_path / "model", rope_parameters={"sliding_attention": default, "full_attention": {"rope_type": "yran"}})
    tried = "an unknown type of rotation for one layer type"
    assert "'yran'" in kinds.refused("rotations", tried, tmp_path, lambda: read_config(tmp_path / "model"))


@pytest.mark.parametrize("key", ["rope_type", "type"])
@torch.inference_mode()
def test_su_on_a_phi3_means_longrope(tmp_path, kinds, key):
    """The published Phi-3 says so: its two lists of factors, and the original length outside."""
    settings = {"rope_parameters": LONGROPE, "original_max_position_embeddings": 16}
    model = families.build("phi3", **settings)
    model.save_pretrained(tmp_path)
    scaling = {"short_factor": LONGROPE["short_factor"], "long_factor": LONGROPE["long_factor"], key: "su"}
    say(tmp_path, ("rope_parameters",), rope_scaling=scaling, rope_theta=1e4)
    loaded = load_model(tmp_path, "float32", CPU)
    assert loaded.config.rope_parameters["rope_type"] == "longrope"
    for length in (12, 40):
        ids = torch.arange(3, 3 + length)[None]
        assert torch.equal(loaded(ids).logits, model(ids).logits)
    assert math.isclose(loaded.model.rotary_emb.attention_scaling, math.sqrt(1 + math.log(4) / math.log(16)))
    kinds.saw("rotations", "rope_scaling of type su on a Phi-3", "longrope, as in its original code")


def test_yarn_on_a_phi3_is_not_taken_for_longrope(tmp_path, kinds):
    families.build("phi3").save_pretrained(tmp_path / "model")
    say(tmp_path / "model", ("rope_parameters",), rope_scaling=LONGROPE | {"rope_type": "yarn"})
    tried = "rope_scaling of type yarn on a Phi-3"
    assert "longrope, su" in kinds.refused("rotations", tried, tmp_path, lambda: read_config(tmp_path / "model"))


QUANTISED = {
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128},
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128},
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "bitsandbytes without its name": {"load_in_8bit": True},
    "compressed-tensors": {"quant_method": "compressed-tensors", "format": "pack-quantized"},
    "fbgemm_fp8": {"quant_method": "fbgemm_fp8"},
    "torchao": {"quant_method": "torchao"},
    "a method that nobody knows": {"quant_method": "magic"},
}


@pytest.mark.parametrize("tried", QUANTISED)
def test_a_quantisation_that_needs_kernels_is_named(folder, tmp_path, kinds, tried):
    say(folder, quantization_config=QUANTISED[tried])
    line = kinds.refused("quantised", tried, tmp_path, lambda: read_config(folder))
    assert QUANTISED[tried].get("quant_method", "bitsandbytes") in line
    with pytest.raises(UserError, match="quantised by"):
        load_model(folder, "float32", CPU)


def test_a_quantisation_inside_a_larger_model_is_named(folder):
    say(folder, text_config={"quantization_config": {"quant_method": "gptq"}})
    with pytest.raises(UserError, match="quantised by gptq"):
        read_config(folder)


def in_fp8(folder: Path) -> dict[str, torch.Tensor]:
    """Store projections as 8-bit floats with a scale for each block of 32 by 32; returns what they stand for."""
    stored, meant = {}, {}
    for name, values in load_file(folder / "model.safetensors").items():
        stored[name] = meant[name] = values
        if name.endswith("proj.weight"):
            blocks = values.reshape(values.shape[0] // 32, 32, values.shape[1] // 32, 32)
            scale = blocks.abs().amax((1, 3)) / 448
            rounded = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn)
            stored[name], stored[f"{name}_scale_inv"] = rounded.reshape(values.shape), scale
            meant[name] = (rounded.float() * scale[:, None, :, None]).reshape(values.shape)
    save_file(stored, folder / "model.safetensors")
    quantisation = {"quant_method": "fp8", "weight_block_size": [32, 32], "activation_scheme": "dynamic", "fmt": "e4m3"}
    say(folder, quantization_config=quantisation)
    return meant


def test_fp8_becomes_plain_weights(folder, kinds):
    meant = in_fp8(folder)
    check_headers(folder, read_config(folder))
    loaded = load_model(folder, "float32", CPU).state_dict()
    assert all(torch.equal(loaded[name], values) for name, values in meant.items())
    kinds.saw("quantised", "fp8 (DeepSeek-V3's)", "becomes plain weights, exactly")


def test_fp8_without_a_scale_is_refused(folder, tmp_path, kinds):
    in_fp8(folder)
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight_scale_inv"]
    save_file(weights, folder / "model.safetensors")
    for function in (lambda: check_headers(folder, read_config(folder)), lambda: load_model(folder, "float32", CPU)):
        line = kinds.refused("quantised", "fp8, one scale is missing", tmp_path, function)
        assert "lacks the scales of model.layers.1.mlp.up_proj.weight" in line


FOUR_BITS = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def test_mxfp4_becomes_plain_weights(tmp_path, kinds):
    """Experts as GPT-OSS has them: blocks of 32 numbers of 4 bits, two a byte, and a power of two for each block."""
    family, settings, *_ = families.ROTARY["GPT-OSS"]
    families.build(family, **settings).save_pretrained(tmp_path)
    stored, meant = {}, {}
    for name, values in load_file(tmp_path / "model.safetensors").items():
        stored[name] = meant[name] = values
        if name.endswith(("gate_up_proj", "down_proj")):
            blocks = values.mT.unflatten(-1, (-1, 32))
            power = torch.ceil(torch.log2(blocks.abs().amax(-1) / 6))
            code = ((blocks / 2 ** power[..., None])[..., None] - FOUR_BITS).abs().argmin(-1)
            meant[name] = (FOUR_BITS[code] * 2 ** power[..., None]).flatten(-2).mT
            stored[f"{name}_blocks"] = (code[..., 0::2] | code[..., 1::2] << 4).to(torch.uint8)
            stored[f"{name}_scales"] = (power + 127).to(torch.uint8)
            del stored[name]
    save_file(stored, tmp_path / "model.safetensors")
    say(tmp_path, quantization_config={"quant_method": "mxfp4"})
    check_headers(tmp_path, read_config(tmp_path))
    loaded = load_model(tmp_path, "float32", CPU).state_dict()
    assert all(torch.equal(loaded[name], values) for name, values in meant.items())
    kinds.saw("quantised", "mxfp4 (GPT-OSS's)", "becomes plain weights, exactly")


CODE = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
FOREIGN = {
    "auto_map for a type that transformers knows": ({"auto_map": CODE}, "own.Model"),
    "auto_map for a type that it does not know": ({"model_type": "own", "auto_map": CODE}, "own.py"),
    "a type with a typo": ({"model_type": "lama"}, "llama"),
    "config.json without a model_type": ({"model_type": None}, "model_type"),
    "an encoder with a decoder (T5)": ({"model_type": "t5"}, "'t5'"),
    "a vision-language wrapper (LLaVA)": ({"model_type": "llava"}, "'llama'"),
    "a vision-language model (Qwen2-VL)": ({"model_type": "qwen2_vl"}, "'qwen2_vl_text'"),
    "a model of images (ViT)": ({"model_type": "vit"}, "'vit'"),
    "a hidden_size that is text": ({"hidden_size": "64"}, "hidden_size"),
}


@pytest.mark.parametrize("tried", FOREIGN)
def test_a_foreign_folder_is_named(folder, tmp_path, kinds, tried):
    settings, word = FOREIGN[tried]
    say(folder, **settings)
    line = kinds.refused("foreign", tried, tmp_path, lambda: read_config(folder))
    assert word in line
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["modeling_llama.LlamaForCausalLM", "owner/code--modeling_llama.LlamaForCausalLM"])
def test_code_that_transformers_has_under_the_same_name_is_said_and_not_run(folder, kinds, monkeypatch, name):
    said = []
    monkeypatch.setattr("logging.Logger.warning", lambda _, text, *values: said.append(text % values))
    say(folder, auto_map={"AutoModelForCausalLM": name})
    assert read_config(folder).model_type == "llama"
    assert len(said) == 1 and "is not run: transformers' LlamaForCausalLM is used" in said[0]
    kinds.saw(
        "foreign", "auto_map that names the class that transformers has", "used, and the log says whose class it is"
    )


@pytest.mark.parametrize("content", [None, "", "{", "[]"])
def test_a_config_that_is_none_is_named(folder, content):
    (folder / "config.json").unlink() if content is None else (folder / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json"):
        read_config(folder)


ENCODERS = {"an encoder (BERT)": "bert", "an encoder (RoBERTa)": "roberta", "an encoder with a decoder (BART)": "bart"}


@pytest.mark.parametrize("tried", ENCODERS)
def test_encoders_are_refused_by_name(tmp_path, kinds, tried):
    """Also for capture: logits, which reads no queries or keys."""
    config = families.AutoConfig.for_model(ENCODERS[tried], **families.SIZES)
    AutoModel.from_config(config).save_pretrained(tmp_path / "model")
    line = kinds.refused("foreign", tried, tmp_path, lambda: read_config(tmp_path / "model"))
    assert f"'{ENCODERS[tried]}'" in line
    with pytest.raises(UserError):
        load_model(tmp_path / "model", "float32", CPU, attention="eager")


def test_an_encoder_that_was_made_a_decoder_is_loaded(tmp_path):
    families.build("bert", is_decoder=True).save_pretrained(tmp_path)
    assert load_model(tmp_path, "float32", CPU).config.is_decoder
