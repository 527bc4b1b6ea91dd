"""The tiny model and corpus of config/tiny.yaml, made by the tests: seeded, saved, and run like any other."""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEXT = "where what key query head layer logit distance position meaning sum fit turn pair text model"
WORDS = TEXT.split()


def make_corpus(folder: Path, documents: int = 4, words: int = 150) -> None:
    """`documents` .txt files of `words` words each."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(documents):
        (folder / f"speech-{number}.txt").write_text(" ".join(generator.choice(WORDS, words)))


def make_tokenizer(folder: Path) -> int:
    """A word-level tokenizer; returns the size of its vocabulary."""
    vocabulary = {word: number for number, word in enumerate(["<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
    return len(vocabulary)


def make_model(folder: Path, **changes: object) -> None:
    """A Llama of two layers, 4 query heads on 2 key heads, with a word-level tokenizer; config keys as `changes`."""
    settings = {
        "vocab_size": make_tokenizer(folder),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
    }
    torch.manual_seed(1)
    LlamaForCausalLM(LlamaConfig(**settings | changes)).save_pretrained(folder)


def make_unrotated_model(folder: Path) -> None:
    """A GPT-2 of two layers and 4 heads: positions are added to its embeddings, nothing is rotated."""
    torch.manual_seed(1)
    settings = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "bos_token_id": 0, "eos_token_id": 0}
    GPT2LMHeadModel(GPT2Config(vocab_size=make_tokenizer(folder), **settings)).save_pretrained(folder)
