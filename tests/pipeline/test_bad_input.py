"""Wrong input is answered by one line that names it and says what would be right; nothing is written."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertLMHeadModel,
    FalconConfig,
    FalconForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from pipeline.test_incremental import EXPERIMENTS


def complaint(run) -> str:
    """The one line that says what is wrong."""
    assert run.status != 0, run.output
    lines = [line for line in run.output.splitlines() if line.startswith("ERROR: ")]
    assert len(set(lines)) == 1, run.output
    return lines[0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  count: 4", "  cuont: 4", ["'sequences.cuont'", "did you mean 'count'"]),
        ("count: 4", "count: four", ["sequences.count", "'four'", "whole number"]),
        ("  tiny:\n", "  2024:\n", ["'models'", "2024", "a number", "quotes"]),
        ("run:\n", "features:\n", ["'features.device'", "run.device"]),
    ],
)
def test_a_wrong_configuration_is_refused_before_any_job(copy_of_finished, old, new, words):
    copy_of_finished.edit("config/tiny.yaml", old, new)
    run = copy_of_finished.run()
    assert "Job stats" not in run.output
    line = complaint(run)
    assert all(word in line for word in words), line


def test_an_empty_corpus_is_named(copy_of_finished):
    for path in (copy_of_finished.folder / "tiny-corpus").iterdir():
        path.write_text("")
    line = complaint(copy_of_finished.run("results/documents.parquet"))
    assert "no text in its 4 file(s)" in line


def test_a_corpus_that_matches_no_file_is_named(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "tiny-corpus/*.txt", "tiny-corpus/*.text")
    assert "path:tiny-corpus/*.text matches no file" in complaint(copy_of_finished.run("results/documents.parquet"))


def test_documents_that_are_too_short_are_counted(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "length: 32", "length: 1000")
    line = complaint(copy_of_finished.run("results/sequences/model=tiny/shard-0000.parquet"))
    assert "1000 tokens" in line
    assert "the longest of 4 documents has 150" in line


def test_too_many_sequences_say_how_many_there_are(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "count: 4", "count: 9")
    line = complaint(copy_of_finished.run("results/sequences/model=tiny/shard-0004.parquet"))
    assert "holds 8 windows" in line
    assert "sequences.per_document" in line


def test_a_digest_mismatch_stops_before_use(copy_of_finished):
    (copy_of_finished.folder / "tiny-corpus.json").write_text(json.dumps([{"text": "where what key query " * 40}]))
    copy_of_finished.edit("config/tiny.yaml", "path:tiny-corpus/*.txt", f"path:tiny-corpus.json\n  sha256: {'a' * 64}")
    line = complaint(copy_of_finished.run("results/documents.parquet"))
    assert "a" * 64 in line


EXTRACT = "results/features/model=tiny/shard-0000.parquet"


def test_layers_out_of_range_are_named(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "batch_tokens: 64", "batch_tokens: 64\nfeatures:\n  layers: [0, 2, 5]")
    line = complaint(copy_of_finished.run(EXTRACT))
    assert "features.layers [2, 5] are out of range" in line
    assert "0 to 1" in line
    assert not (copy_of_finished.folder / EXTRACT).exists()


def test_heads_out_of_range_are_named(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "fits:", "logits:\n  heads: [3, 4]\n\nfits:")
    line = complaint(copy_of_finished.run("results/logits/model=tiny/shard-0000.parquet"))
    assert "logits.heads [4] are out of range" in line
    assert "0 to 3" in line


def test_weights_that_are_not_finite_are_named_by_layer(copy_of_finished):
    path = copy_of_finished.folder / "tiny-model/model.safetensors"
    weights = load_file(path)
    weights["model.layers.1.self_attn.q_proj.weight"][0, 0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    assert "layer 1: queries or keys are NaN or infinite" in complaint(copy_of_finished.run(EXTRACT))


def test_a_check_above_tolerance_stops_the_run(copy_of_finished):
    copy_of_finished.edit("config/tiny.yaml", "batch_tokens: 64", "batch_tokens: 64\nfeatures:\n  tolerance: 1.0e-12")
    line = complaint(copy_of_finished.run(EXTRACT))
    assert "above features.tolerance 1.0e-12" in line
    assert not (copy_of_finished.folder / EXTRACT).exists()


@pytest.mark.parametrize(
    ("model", "kind", "word"),
    [
        (GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=32, n_layer=1, n_head=2)), "gpt2", "no rotary"),
        (
            FalconForCausalLM(
                FalconConfig(vocab_size=32, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, alibi=False)
            ),
            "falcon",
            "refuses capture",
        ),
    ],
    ids=["gpt2", "falcon"],
)
def test_a_model_that_cannot_be_captured_is_refused_by_name(copy_of_finished, model, kind, word):
    (copy_of_finished.folder / "tiny-model/model.safetensors").unlink()
    model.save_pretrained(copy_of_finished.folder / "tiny-model")
    line = complaint(copy_of_finished.run(EXTRACT))
    assert f"'{kind}'" in line
    assert word in line


def test_a_token_beyond_the_embedding_is_named_before_the_model_runs(copy_of_finished):
    folder = copy_of_finished.folder / "tiny-model"
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(folder)
    (copy_of_finished.folder / "tiny-corpus/speech-1.txt").write_text("where <new> what " * 40)
    line = complaint(copy_of_finished.run(EXTRACT))
    assert f"'<new>', but the model's embedding has {len(tokenizer) - 1} rows" in line


def test_pickled_weights_are_refused(copy_of_finished):
    folder = copy_of_finished.folder / "tiny-model"
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "safetensors only" in complaint(copy_of_finished.run("resources/models/tiny.json"))


def test_weights_under_another_prefix_are_refused_when_they_are_fetched(copy_of_finished):
    """Before any long job: nothing is drawn afresh, and nothing that was made is lost."""
    path = copy_of_finished.folder / "tiny-model/model.safetensors"
    save_file({f"_orig_mod.{name}": values for name, values in load_file(path).items()}, path)
    run = copy_of_finished.run()
    line = complaint(run)
    assert "begin with '_orig_mod.'" in line and "rule fetch_model" in run.output and "extract_features" not in line
    assert (copy_of_finished.folder / EXTRACT).exists()


def test_an_encoder_is_refused_whatever_is_captured(copy_of_finished):
    folder = copy_of_finished.folder / "tiny-model"
    (folder / "model.safetensors").unlink()
    settings = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    BertLMHeadModel(BertConfig(vocab_size=32, **settings)).save_pretrained(folder)
    copy_of_finished.edit("config/tiny.yaml", "path:tiny-model", "path:tiny-model\n    capture: logits")
    copy_of_finished.edit("config/tiny.yaml", EXPERIMENTS, "experiments: []")
    assert "is an encoder (type 'bert')" in complaint(copy_of_finished.run("resources/models/tiny.json"))
