"""Tokenizers of bytes and of byte pairs give back any text."""

import pytest

from triaxis.base.errors import UserError
from triaxis.model.tokenizer import load_tokenizer
from triaxis.text.tokens import prefix_tokens
from triaxis.training.vocabulary import make_tokenizer

TEXT = "Where is what? 'It is here', she said — naïve, 日本, 🙂,  two  spaces\n\tand a tab. "


@pytest.mark.parametrize("entries", [None, 300])
def test_a_text_comes_back_as_it_was_and_nothing_is_put_before_it(entries, tmp_path):
    tokenizer = make_tokenizer([TEXT] * 3, entries)
    assert len(tokenizer) == (entries or 256)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    ids = loaded(TEXT, add_special_tokens=False).input_ids
    assert ids == tokenizer(TEXT, add_special_tokens=False).input_ids
    assert loaded.decode(ids, clean_up_tokenization_spaces=False) == TEXT
    assert prefix_tokens(loaded) == []
    if entries is None:
        assert len(ids) == len(TEXT.encode())
    else:
        assert len(ids) < len(TEXT.encode())


def test_byte_pairs_are_those_of_the_texts_they_are_trained_on():
    known = make_tokenizer(["abcabcabc " * 50, "zyx"], 262)
    assert len(known("abcabc").input_ids) < len(known("xyzxyz").input_ids) == 6
    again = make_tokenizer(["abcabcabc " * 50, "zyx"], 262)
    assert again.get_vocab() == known.get_vocab()


def test_too_few_pairs_are_refused():
    with pytest.raises(UserError, match=r"training\.vocabulary is 400, but the training documents give \d+ entries"):
        make_tokenizer(["ab ab"], 400)
