"""Models whose earlier outputs see later tokens, whatever their configuration says, and advice that has been tried."""

import json

import pytest
import torch

from triaxis.attention.at_softmax import instead
from triaxis.attention.layout import probe_layouts
from triaxis.base.errors import UserError
from triaxis.base.files import write_json
from triaxis.model.causal import require_causal
from triaxis.model.loading import open_model
from triaxis.text.sources import fetch_model_files, parse_source
from unit import families

OPTIONS = {"device": "cpu", "dtype": "float32"}
ALL = {own[0]: own[1] for own in (families.ROTARY | families.UNROTATED).values()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ALL)
def test_every_family_is_causal(family, dtype):
    require_causal(families.build(family, **ALL[family]).to(dtype))


ACAUSAL = {"BERT as it is": "bert", "RoBERTa as it is": "roberta", "ELECTRA as it is": "electra"}


@pytest.mark.parametrize("tried", ACAUSAL)
def test_an_encoder_is_told_by_what_it_does(tmp_path, kinds, tried):
    model = families.build(ACAUSAL[tried])
    line = kinds.refused("not causal", tried, tmp_path, lambda: require_causal(model))
    assert f"'{ACAUSAL[tried]}' is not causal" in line


def test_a_llama_that_looks_ahead_is_told_when_it_is_opened(tmp_path, kinds):
    """Embedding models are such: a causal type whose configuration turns the mask off."""
    settings = families.GEMMA | {"use_bidirectional_attention": True}
    families.build("gemma3_text", **settings).save_pretrained(tmp_path / "model")
    record = fetch_model_files([parse_source(f"path:{tmp_path}/model")], None, None, tmp_path)
    write_json(tmp_path / "model.json", record)
    assert json.loads((tmp_path / "model/config.json").read_text())["use_bidirectional_attention"]
    tried = "a Gemma 3 whose attention goes both ways"
    kinds.refused("not causal", tried, tmp_path, lambda: open_model(tmp_path / "model.json", OPTIONS, None))


def test_weights_that_are_not_finite_are_left_to_who_names_their_layer():
    model = families.build("llama")
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    require_causal(model)


@pytest.mark.parametrize("family", [own[0] for own in families.UNROTATED.values()])
def test_capture_logits_is_advised_where_it_works(family):
    model = families.build(family, **ALL[family])
    before = model.config._attn_implementation
    assert "set capture: logits" in instead(model)
    assert model.config._attn_implementation == before


@pytest.mark.parametrize("family", ["mamba", "rwkv", "bart"])
def test_it_is_not_advised_where_it_does_not(family):
    model = families.build(family)
    with pytest.raises(UserError) as caught:
        probe_layouts(model)
    assert "choose another family" in str(caught.value) and "set capture" not in str(caught.value)
