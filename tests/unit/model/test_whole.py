"""Weights as their files have them: what is missing, left over or of another shape ends in one line, at fetch and at
each load."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from triaxis.base.errors import UserError
from triaxis.model.loading import load_model
from triaxis.model.published import read_config
from triaxis.model.whole import check_headers
from unit import families

CPU = torch.device("cpu")
Q = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    families.build("llama").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def check(folder: Path) -> None:
    """As fetch_model does."""
    check_headers(folder, read_config(folder))


def change(folder: Path, edit: Callable[[dict], dict], **settings: object) -> None:
    """Put other weights and settings into a folder."""
    weights = edit(load_file(folder / "model.safetensors"))
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))


def renamed(prefix: str) -> Callable[[dict], dict]:
    return lambda weights: {prefix + name: tensor for name, tensor in weights.items()}


def without(*names: str) -> Callable[[dict], dict]:
    return lambda weights: {name: tensor for name, tensor in weights.items() if name not in names}


def beside(**more: torch.Tensor) -> Callable[[dict], dict]:
    return lambda weights: weights | {name.replace("__", "."): tensor for name, tensor in more.items()}


def reshaped(*names: str) -> Callable[[dict], dict]:
    return lambda weights: {name: tensor[:-8] if name in names else tensor for name, tensor in weights.items()}


def same(weights: dict) -> dict:
    return weights


def cut(weights: dict) -> dict:
    return {name: tensor for name, tensor in weights.items() if "layers.1." not in name}


def of_adapter(weights: dict) -> dict:
    return {f"base_model.model.{name}": tensor for name, tensor in weights.items()}


ZERO = torch.zeros(8, 8)
REFUSED = {
    "all keys under _orig_mod. (saved after torch.compile)": (
        renamed("_orig_mod."),
        {},
        ["'_orig_mod.'", "21 tensors"],
    ),
    "all keys under module. (saved from data parallelism)": (renamed("module."), {}, ["'module.'"]),
    "all keys under base_model.model. (an adapter's wrapper)": (of_adapter, {}, ["'base_model.model.'"]),
    "one q_proj is missing": (without(Q), {}, [f"lacks {Q} of"]),
    "the embedding is missing": (without("model.embed_tokens.weight"), {}, ["lacks model.embed_tokens.weight"]),
    "the head is missing, and config.json does not tie it": (without("lm_head.weight"), {}, ["lacks lm_head.weight"]),
    "embedding and head are missing, and tied": (
        without("lm_head.weight", "model.embed_tokens.weight"),
        {"tie_word_embeddings": True},
        ["lacks lm_head.weight, model.embed_tokens.weight"],
    ),
    "config.json says 3 layers, the file has 2": (same, {"num_hidden_layers": 3}, ["9 tensors", "model.layers.2."]),
    "config.json says 2 layers, the file has 1": (cut, {}, ["9 tensors", "model.layers.1."]),
    "config.json says 1 layer, the file has 2": (
        same,
        {"num_hidden_layers": 1},
        ["holds 9 tensors", "model.layers.1."],
    ),
    "a q_proj of another shape": (reshaped(Q), {}, [Q, "[56, 64]", "[64, 64]"]),
    "an embedding of fewer rows than vocab_size": (same, {"vocab_size": 130}, ["[128, 64]", "[130, 64]", "2 of such"]),
    "a vision tower beside the language model": (
        beside(vision_tower__patch_embedding__weight=ZERO),
        {},
        ["holds vision_tower.patch_embedding.weight beyond"],
    ),
    "a value head beside the language model": (
        beside(v_head__summary__weight=ZERO),
        {},
        ["holds v_head.summary.weight"],
    ),
    "biases that config.json does not have": (
        beside(model__layers__0__self_attn__q_proj__bias=torch.zeros(64)),
        {},
        ["holds model.layers.0.self_attn.q_proj.bias"],
    ),
}


@pytest.mark.parametrize("tried", REFUSED)
def test_weights_that_do_not_fit_end_in_one_line(folder, tmp_path, kinds, tried):
    """Found from the headers when it is fetched, and from the loading report whenever it is opened."""
    edit, settings, words = REFUSED[tried]
    change(folder, edit, **settings)
    line = kinds.refused("weights that do not fit", tried, tmp_path, lambda: check(folder))
    assert all(word in line for word in words)
    with pytest.raises(UserError, match=r"lacks|holds|put together"):
        load_model(folder, "float32", CPU)


def test_a_missing_shard_is_named(tmp_path, kinds):
    families.build("llama").save_pretrained(tmp_path / "model", max_shard_size="64KB")
    shards = sorted((tmp_path / "model").glob("model-*.safetensors"))
    assert len(shards) > 2
    shards[1].unlink()
    tried = "a shard that the index names is missing"
    line = kinds.refused("weights that do not fit", tried, tmp_path, lambda: check(tmp_path / "model"))
    assert shards[1].name in line


@pytest.mark.parametrize("size", [0, 100, 50_000])
def test_a_damaged_file_is_named(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    for function in (check, lambda own: load_model(own, "float32", CPU)):
        with pytest.raises(UserError, match=r"model\.safetensors is no safetensors file, or a damaged one"):
            function(folder)


MADE = {
    "rotary tables that an older transformers saved": beside(
        model__layers__0__self_attn__rotary_emb__inv_freq=1 / 1e4 ** (torch.arange(8) / 8)
    ),
    "causal masks that an older transformers saved": beside(
        model__layers__0__attn__bias=torch.ones(1, 1, 64, 64, dtype=torch.bool),
        model__layers__0__attn__masked_bias=torch.tensor(-1e4),
    ),
}


@pytest.mark.parametrize("tried", MADE)
def test_what_a_model_makes_itself_is_left_out(folder, kinds, tried):
    expected = load_model(folder, "float32", CPU).state_dict()
    change(folder, MADE[tried])
    check(folder)
    found = load_model(folder, "float32", CPU).state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    kinds.saw("weights that do not fit", tried, "left out; the model is the same")


def test_a_saved_rotary_table_that_config_json_does_not_describe_is_refused(folder, tmp_path, kinds):
    change(folder, beside(model__layers__0__self_attn__rotary_emb__inv_freq=1 / 5e5 ** (torch.arange(8) / 8)))
    tried = "a saved rotary table of another rope_theta"
    line = kinds.refused("rotations", tried, tmp_path, lambda: load_model(folder, "float32", CPU))
    assert "rotary_emb.inv_freq" in line and "rope_theta 10000.0" in line


def test_a_saved_rotary_table_in_half_precision_is_the_same(folder):
    table = (1 / 1e4 ** (torch.arange(8) / 8)).half()
    change(folder, beside(model__layers__0__self_attn__rotary_emb__inv_freq=table))
    load_model(folder, "float32", CPU)


def test_a_bias_that_only_sounds_like_a_mask_is_not_left_out(folder):
    change(folder, beside(model__layers__0__attn__bias=torch.ones(64)))
    with pytest.raises(UserError, match=r"holds model\.layers\.0\.attn\.bias beyond"):
        check(folder)


@pytest.mark.parametrize("kept", ["lm_head.weight", "model.embed_tokens.weight"])
def test_a_tied_weight_need_be_there_once(tmp_path, kinds, kept):
    model = families.build("llama", tie_word_embeddings=True)
    model.save_pretrained(tmp_path / "model")
    change(tmp_path / "model", lambda w: without("lm_head.weight", "model.embed_tokens.weight")(w) | {kept: w[EMBED]})
    check(tmp_path / "model")
    loaded = load_model(tmp_path / "model", "float32", CPU)
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    kinds.saw("weights that do not fit", "one of two tied weights", "it is both")


EMBED = "model.embed_tokens.weight"


def test_a_base_model_whose_head_is_tied_is_whole(tmp_path):
    model = families.build("llama", tie_word_embeddings=True)
    model.save_pretrained(tmp_path / "model")
    change(tmp_path / "model", lambda weights: {name.removeprefix("model."): own for name, own in weights.items()})
    check(tmp_path / "model")
    loaded = load_model(tmp_path / "model", "float32", CPU)
    assert all(torch.equal(own, loaded.state_dict()[name]) for name, own in model.state_dict().items())


def test_a_missing_expert_is_refused(tmp_path, kinds):
    families.build("mixtral", **families.EXPERTS).save_pretrained(tmp_path / "model")
    name = next(name for name in load_file(tmp_path / "model/model.safetensors") if "experts.3." in name)
    change(tmp_path / "model", without(name))
    tried = "one matrix of one expert is missing"
    kinds.refused("weights that do not fit", tried, tmp_path, lambda: check(tmp_path / "model"))
    with pytest.raises(UserError):
        load_model(tmp_path / "model", "float32", CPU)


@pytest.mark.parametrize(("family", "settings"), [(own[0], own[1]) for own in families.ROTARY.values()])
def test_every_rotary_family_is_whole_as_it_is_saved(tmp_path, family, settings):
    families.build(family, **settings).save_pretrained(tmp_path)
    check(tmp_path)


@pytest.mark.parametrize("family", [own[0] for own in families.UNROTATED.values()])
def test_every_other_family_is_whole_as_it_is_saved(tmp_path, family):
    settings = next(own[1] for own in families.UNROTATED.values() if own[0] == family)
    families.build(family, **settings).save_pretrained(tmp_path)
    check(tmp_path)
