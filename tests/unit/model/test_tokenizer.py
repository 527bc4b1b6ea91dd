"""Tokenizers as they are published: the file's own tokens and prefix, or one line."""

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig

from triaxis.base.errors import UserError
from triaxis.model.tokenizer import SAMPLE, embedding_rows, load_tokenizer
from triaxis.text.tokens import prefix_tokens

BOS = ("<s>", 1)
TYPES = [
    "llama",
    "qwen2",
    "qwen3",
    "gpt_neox",
    "gpt2",
    "gemma3_text",
    "mistral",
    "cohere",
    "starcoder2",
    "opt",
    "bloom",
]


def byte_level(**template: Any) -> Tokenizer:
    """A byte-level BPE trained on the sample."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return trained(tokenizer, pre_tokenizers.ByteLevel.alphabet(), **template)


def metaspace(**template: Any) -> Tokenizer:
    """A BPE with ▁ for spaces, as Llama 2 has, trained on the sample."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return trained(tokenizer, [], **template)


def trained(tokenizer: Tokenizer, alphabet: list[str], single: str = "<s> $A") -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([SAMPLE] * 3, trainer)
    if single:
        tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=[BOS, ("</s>", 2)])
    return tokenizer


def save(folder: Path, kind: str, tokenizer: Tokenizer | None = None, **files: Any) -> Path:
    """A model folder: its configuration, tokenizer.json and further files (`__` for a point), JSON but for bytes."""
    AutoConfig.for_model(kind).save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def complaint(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_tokenizer(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The file's own


@pytest.mark.parametrize("make", [byte_level, metaspace])
@pytest.mark.parametrize("named", [None, "PreTrainedTokenizerFast", "Qwen2Tokenizer", "LlamaTokenizerFast"])
@pytest.mark.parametrize("kind", TYPES)
def test_tokens_and_prefix_are_those_of_the_file(tmp_path, kind, named, make):
    """transformers picks a class by model type or by name, and some classes split as they were written to."""
    own = make()
    config = {} if named is None else {"tokenizer_config__json": {"tokenizer_class": named, "bos_token": "<s>"}}
    tokenizer = load_tokenizer(save(tmp_path, kind, own, **config))
    for text in (SAMPLE, "</s>", "a", " ", ""):
        assert tokenizer(text, add_special_tokens=False).input_ids == own.encode(text, add_special_tokens=False).ids
        assert tokenizer(text).input_ids == own.encode(text).ids
    assert prefix_tokens(tokenizer) == [1]
    encoded = own.encode(SAMPLE, add_special_tokens=False)
    offsets = tokenizer(SAMPLE, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
    assert offsets == encoded.offsets


@pytest.mark.parametrize(
    ("single", "said", "expected"),
    [
        ("", {}, []),
        ("<s> $A </s>", {}, [1]),
        ("$A </s>", {}, []),
        ("</s> <s> $A", {}, [2, 1]),
        ("<s> $A", {"add_bos_token": None}, [1]),
        ("<s> $A", {"add_bos_token": True}, [1]),
        ("<s> $A </s>", {"add_bos_token": False}, []),
        ("", {"add_bos_token": True}, [1]),
        ("", {"add_bos_token": False}, []),
    ],
)
def test_the_prefix_is_the_templates_unless_the_configuration_says_otherwise(tmp_path, single, said, expected):
    config = {"bos_token": "<s>", **said}
    tokenizer = load_tokenizer(save(tmp_path, "llama", byte_level(single=single), tokenizer_config__json=config))
    assert prefix_tokens(tokenizer) == expected
    own = byte_level(single="").encode(SAMPLE)
    assert tokenizer(SAMPLE, add_special_tokens=False).input_ids == own.ids


def test_special_tokens_are_named_by_each_file_that_may_name_them(tmp_path):
    own = byte_level()
    own.add_special_tokens(["<image>"])
    config = {"eos_token": {"content": "</s>", "lstrip": False, "special": True}, "pad_token": None}
    tokens = {"unk_token": "<unk>", "eos_token": "<s>"}
    folder = save(tmp_path, "llama", own, tokenizer_config__json=config, special_tokens_map__json=tokens)
    tokenizer = load_tokenizer(folder)
    # The BOS is the one of config.json, by its number.
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token) == ("<s>", "</s>", "<unk>")
    assert tokenizer.pad_token is None
    assert set(tokenizer.all_special_ids) == {0, 1, 2, own.token_to_id("<image>")}


@pytest.mark.parametrize("token", ["<pad>", "Hello", "l"])
def test_a_name_for_what_is_no_special_token_splits_no_text(tmp_path, token):
    own = byte_level()
    folder = save(tmp_path, "llama", own, tokenizer_config__json={"pad_token": token})
    tokenizer = load_tokenizer(folder)
    assert tokenizer("Hello<pad> all", add_special_tokens=False).input_ids == own.encode("Hello<pad> all").ids[1:]
    assert len(tokenizer) == own.get_vocab_size()


def test_truncation_and_padding_in_the_file_cut_no_text(tmp_path):
    own = byte_level()
    own.enable_truncation(8)
    own.enable_padding(length=16)
    tokenizer = load_tokenizer(save(tmp_path, "llama", own))
    assert len(tokenizer(SAMPLE).input_ids) > 100
    assert len(tokenizer.backend_tokenizer.encode("a").ids) == 2


def test_added_tokens_keep_what_the_file_says_of_spaces(tmp_path):
    own = byte_level()
    own.add_tokens([AddedToken("<b>", lstrip=True, rstrip=True), AddedToken("word", single_word=True)])
    entries = {str(own.token_to_id(name)): {"content": name} for name in ("<b>", "word")}
    folder = save(tmp_path, "qwen2", own, tokenizer_config__json={"added_tokens_decoder": entries})
    text = "Hello <b> word sword"
    assert load_tokenizer(folder)(text).input_ids == own.encode(text).ids


def test_embedding_rows(tmp_path):
    assert embedding_rows(save(tmp_path, "llama")) == AutoConfig.for_model("llama").vocab_size
    (tmp_path / "config.json").write_text("{")
    assert embedding_rows(tmp_path) is None


# What is refused, or works without tokenizer.json


def lines(tokenizer: Tokenizer) -> dict[str, Any]:
    """vocab.json and merges.txt, as before tokenizer.json."""
    model = json.loads(tokenizer.to_str())["model"]
    merges = "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in model["merges"])
    return {"vocab__json": model["vocab"], "merges__txt": merges.encode()}


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox"])
def test_vocabulary_and_merges_are_a_tokenizer(tmp_path, kind):
    own = byte_level(single="")
    tokenizer = load_tokenizer(save(tmp_path, kind, **lines(own)))
    assert tokenizer("Hello  world\n12", add_special_tokens=False).input_ids == own.encode("Hello  world\n12").ids


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9085657\n"
TIKTOKEN = b"".join(base64.b64encode(word) + f" {rank}\n".encode() for rank, word in enumerate([b"where", b"what"]))
REFUSED = [
    ("tokenizer", "a folder without a tokenizer", {}, ["it has none", "tokenizer.json"]),
    ("tokenizer", "tokenizer.json cut short", {"tokenizer__json": b'{"model"'}, ["no tokenizer can be loaded"]),
    ("tokenizer", "tokenizer.json of Git LFS", {"tokenizer__json": POINTER}, ["no tokenizer can be loaded"]),
    ("tokenizer", "tokenizer.json without a model", {"tokenizer__json": {}}, ["no tokenizer can be loaded"]),
    (
        "tokenizer",
        "tokenizer_config.json cut short",
        {"tokenizer_config__json": b"{"},
        ["tokenizer_config.json is not JSON"],
    ),
    ("tokenizer", "tokenizer_config.json that is a list", {"tokenizer_config__json": []}, ["is not a JSON object"]),
    (
        "tokenizer",
        "a tokenizer with code of its own",
        {
            "tokenizer__json": byte_level().to_str().encode(),
            "tokenizer_config__json": {"auto_map": {"AutoTokenizer": ["a.B", None]}},
        },
        ["code of its own", "auto_map in tokenizer_config.json"],
    ),
    (
        "tokenizer",
        "the same, in the older form",
        {"tokenizer__json": byte_level().to_str().encode(), "tokenizer_config__json": {"auto_map": ["a.B", None]}},
        ["code of its own"],
    ),
    (
        "tokenizer",
        "tokenizer_config.json with a token that tokenizer.json lacks",
        {
            "tokenizer__json": byte_level().to_str().encode(),
            "tokenizer_config__json": {"added_tokens_decoder": {"9999": {"content": "<x>"}}},
        },
        ["tokenizer_config.json has '<x>' as token 9999, tokenizer.json None"],
    ),
    ("tokenizer", "a tiktoken file alone", {"tokenizer__model": TIKTOKEN}, ["is a tiktoken file", "tokenizer.json"]),
    (
        "tokenizer",
        "vocab.json without merges",
        {"vocab__json": {"a": 0}},
        ["no tokenizer can be loaded", "tokenizer.json"],
    ),
    ("tokenizer", "vocab.txt for a Llama", {"vocab__txt": b"[UNK]\na\n"}, ["no tokenizer can be loaded"]),
]
KINDS = [(kind, sample, "refused") for kind, sample, *_ in REFUSED] + [
    ("tokenizer", "each of 11 model types, byte-level or Metaspace, by class name or without", "the file's own tokens"),
    ("tokenizer", "tokenizer_config.json with and without add_bos_token", "the template's prefix, or as it says"),
    ("tokenizer", "truncation and padding in tokenizer.json", "whole texts"),
    ("tokenizer", "a SentencePiece file alone, without sentencepiece", "refused"),
    ("tokenizer", "a SentencePiece file alone, with sentencepiece", "SentencePiece's own tokens, or refused"),
]


@pytest.mark.parametrize(("files", "words"), [case[2:] for case in REFUSED], ids=[case[1] for case in REFUSED])
def test_what_cannot_be_loaded_as_it_was_published_is_one_line(tmp_path, files, words):
    fault = complaint(save(tmp_path, "llama", **files))
    assert str(tmp_path) in fault and all(word in fault for word in words), fault


def test_a_tokenizer_of_python_alone_is_refused(tmp_path):
    fault = complaint(save(tmp_path, "ctrl", **lines(byte_level())))
    assert "CTRLTokenizer" in fault and "save it as tokenizer.json" in fault


@pytest.mark.parametrize("name", ["sentencepiece", "google.protobuf"])
def test_a_sentencepiece_model_names_the_packages_that_it_needs(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    fault = complaint(save(tmp_path, "llama", tokenizer__model=b"\n\x0e\n\x05<unk>"))
    assert "sentencepiece and protobuf" in fault and "tokenizer.json beside it" in fault


@pytest.fixture
def pieces():
    """Make a SentencePiece model of the sample; options as its trainer takes them."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="not among the project's packages")
    pytest.importorskip("google.protobuf", reason="not among the project's packages")

    def make(**options: Any) -> bytes:
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SAMPLE.split("\n") * 9),
            model_writer=model,
            vocab_size=600,
            hard_vocab_limit=False,
            character_coverage=1.0,
            minloglevel=2,
            **options,
        )
        return model.getvalue()

    return make


LLAMA = {
    "model_type": "bpe",
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "split_digits": True,
    "allow_whitespace_only_pieces": True,
    "byte_fallback": True,
}
SAID = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "add_bos_token": True}


@pytest.mark.parametrize("kind", ["llama", "mistral", "gpt_neox"])
def test_a_sentencepiece_model_as_llama_has_it_gives_its_own_tokens(tmp_path, pieces, kind):
    import sentencepiece

    model = pieces(**LLAMA)
    tokenizer = load_tokenizer(save(tmp_path, kind, tokenizer__model=model, tokenizer_config__json=SAID))
    own = sentencepiece.SentencePieceProcessor(model_proto=model)
    for text in (SAMPLE.partition("</s>")[0], "a", "  what"):
        assert tokenizer(text, add_special_tokens=False).input_ids == own.encode(text)
    assert prefix_tokens(tokenizer) == [1]


def test_a_sentencepiece_model_that_is_converted_wrongly_is_refused(tmp_path, pieces):
    """transformers forgets its normalisation."""
    files = {"tokenizer__model": pieces(model_type="unigram"), "tokenizer_config__json": SAID}
    assert "splits texts in another way than" in complaint(save(tmp_path, "llama", **files))


def test_a_sentencepiece_model_does_not_say_how_texts_begin(tmp_path, pieces):
    fault = complaint(save(tmp_path, "llama", tokenizer__model=pieces(**LLAMA)))
    assert "does not say whether texts begin with <s>" in fault and "add_bos_token" in fault


def test_a_file_that_is_no_sentencepiece_model_is_named(tmp_path, pieces):
    assert "is not a SentencePiece model" in complaint(save(tmp_path, "llama", tokenizer__model=b"\n\x05garbage"))
