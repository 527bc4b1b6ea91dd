"""Which characters a token has, of tokenizers that say so and of those that do not."""

import pytest
from transformers import ByT5Tokenizer

from triaxis.base.errors import UserError
from triaxis.model.tokenizer import load_tokenizer
from triaxis.text.offsets import encode

TEXT = "the old garden was where the people went"


def test_a_tokenizer_without_offsets_is_named_with_a_remedy(tmp_path):
    ByT5Tokenizer().save_pretrained(tmp_path)
    with pytest.raises(
        UserError, match=r"^the tokenizer in .* \(ByT5Tokenizer\) does not say .* tokenizer\.json"
    ) as caught:
        encode(ByT5Tokenizer.from_pretrained(tmp_path), TEXT)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_such_a_tokenizer_is_refused_in_one_line_before_any_rule_reads_a_text(tmp_path):
    ByT5Tokenizer().save_pretrained(tmp_path)
    with pytest.raises(
        UserError, match=r"^no tokenizer can be loaded from .*: put the model's own tokenizer\.json there$"
    ):
        load_tokenizer(tmp_path)
