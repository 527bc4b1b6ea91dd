"""Tokens: a tokenizer's own prefix, its every document, and what of a text it cannot give back."""

import pyarrow as pa
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from triaxis.base.errors import UserError
from triaxis.text.schema import TOKENS
from triaxis.text.tokens import count_lost, prefix_tokens, require_rows, texts_of, tokenize


def documents(*texts: str) -> pa.Table:
    return pa.table({"document": pa.array(range(len(texts)), pa.int32()), "text": pa.array(texts, pa.large_string())})


def tokens_of(table: pa.Table, tokenizer: PreTrainedTokenizerFast) -> pa.Table:
    return pa.concat_tables(tokenize(table, tokenizer)).cast(TOKENS)


def tokenizer(start: list[str] = (), end: list[str] = ()) -> PreTrainedTokenizerFast:
    """A tokenizer of letters that puts special tokens around a text."""
    vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", "<x>", "<unk>", *"abcdefgh"])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    if start or end:
        special = [(token, vocabulary[token]) for token in sorted({*start, *end})]
        core.post_processor = processors.TemplateProcessing(
            single=" ".join([*start, "$A", *end]), special_tokens=special
        )
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [((), (), []), (("<s>",), (), [0]), (("<s>",), ("</s>",), [0]), ((), ("</s>",), []), (("<x>", "<s>"), (), [2, 0])],
)
def test_the_prefix_is_what_the_tokenizer_puts_first(start, end, expected):
    assert prefix_tokens(tokenizer(start, end)) == expected


def test_documents_become_tokens_without_special_ones_whatever_the_batch():
    documents = pa.table({"document": pa.array([4, 7, 9], pa.int32()), "text": ["abc", "h", "ba"]})
    for rows in (1, 2, 1024):
        found = pa.concat_tables(tokenize(documents, tokenizer(("<s>",), ("</s>",)), rows)).cast(TOKENS)
        assert found.to_pylist() == [
            {"document": 4, "length": 3, "tokens": [4, 5, 6], "texts": ["a", "b", "c"]},
            {"document": 7, "length": 1, "tokens": [11], "texts": ["h"]},
            {"document": 9, "length": 2, "tokens": [5, 4], "texts": ["b", "a"]},
        ]


@pytest.mark.parametrize(
    ("text", "ends", "expected"),
    [
        ("where what", [5, 10], ["where", " what"]),  # offsets may leave a space out
        ("a\n", [1], ["a\n"]),  # what follows the last token is its own
        ("né!", [1, 2, 2, 3], ["n", "é", "", "!"]),  # a character of two tokens
        (" \n", [], []),
    ],
)
def test_the_texts_of_tokens_are_the_document(text, ends, expected):
    assert texts_of(text, ends) == expected


def test_texts_of_bytes_are_the_document():
    """As of byte pairs, whose tokens may be parts of a character."""
    core = Tokenizer(
        models.BPE({token: number for number, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, [])
    )
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = ["Where is “é”?\n", "日本 語"]
    found = tokens_of(documents(*texts), PreTrainedTokenizerFast(tokenizer_object=core))
    assert ["".join(own) for own in found["texts"].to_pylist()] == texts
    assert found["texts"].to_pylist()[1] == ["日", "", "", "本", "", "", " ", "語", "", ""]
    assert found["length"].to_pylist() == [19, 10]


def bases(**model) -> PreTrainedTokenizerFast:
    """A tokenizer of A, C, G and T and nothing else, with a BOS."""
    core = Tokenizer(models.BPE({base: number for number, base in enumerate("ACGT")}, [], **model))
    core.decoder = decoders.Fuse()
    core.add_special_tokens(["<s>"])
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 4)])
    return PreTrainedTokenizerFast(tokenizer_object=core)


def test_a_tokenizer_that_knows_no_letter_but_its_own_has_a_prefix(kinds):
    assert prefix_tokens(bases()) == [4]
    assert tokens_of(documents("GATTACA", "a", ""), bases())["tokens"].to_pylist() == [[2, 0, 3, 3, 0, 1, 0], [], []]
    kinds.saw(
        "tokenizer", "a vocabulary of A, C, G and T without an unknown token", "its prefix is that of its template"
    )


@pytest.mark.parametrize(
    "processor",
    [
        processors.BertProcessing(("</s>", 1), ("<s>", 0)),
        processors.RobertaProcessing(("</s>", 1), ("<s>", 0)),
        processors.Sequence(
            [
                processors.ByteLevel(),
                processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]),
            ]
        ),
    ],
)
def test_a_prefix_may_be_written_in_other_ways_than_a_template(processor):
    letters = tokenizer()
    letters.backend_tokenizer.post_processor = processor
    assert prefix_tokens(letters) == [0]


def test_a_document_that_cannot_be_tokenised_is_named(kinds, tmp_path):
    core = Tokenizer(models.WordLevel({"where": 0, "what": 1}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words = PreTrainedTokenizerFast(tokenizer_object=core)
    assert tokens_of(documents("where what"), words)["tokens"].to_pylist() == [[0, 1]]
    with pytest.raises(
        UserError, match=r"document 1 cannot be tokenised.*UNK.*give a tokenizer that has an unknown token"
    ) as caught:
        tokens_of(documents("where what", "where key", "what"), words)
    kinds.saw_line("tokenizer", "a WordLevel model without its unknown token", tmp_path, str(caught.value))


@pytest.mark.parametrize("prefix", [[], [11]])
def test_a_token_without_a_row_of_the_embedding_is_named(prefix, kinds, tmp_path):
    letters = tokenizer()
    tokens = tokens_of(documents("abc" if prefix else "abch", "a"), letters)
    require_rows(tokens, prefix, 12, letters)
    require_rows(tokens, prefix, None, letters)
    with pytest.raises(UserError, match="token 11, 'h', but the model's embedding has 11 rows") as caught:
        require_rows(tokens, prefix, 11, letters)
    if not prefix:
        kinds.saw_line("tokenizer", "a token beyond the embedding, in the text", tmp_path, str(caught.value))


def test_a_corpus_without_a_token_needs_no_row():
    require_rows(tokens_of(documents(""), bases()), [], 1, bases())


def lossy(normalizer=None, decoder=None) -> PreTrainedTokenizerFast:
    """Words, a space before each but the first, changed as the normaliser says."""
    words = ["[UNK]", "▁where", "▁what", "▁Key", "▁key"]
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    core.normalizer = normalizer
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoder or decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]")


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        (lossy(), "where what Key", (0, 0)),
        (lossy(normalizers.Lowercase()), "where Key what Key", (1, 2)),
        (lossy(decoder=decoders.Fuse()), "where what", (1, 1)),
        # The unknown token is not text: none of its letters stand for the word's.
        (lossy(), "where KUN what", (1, 4)),
        (bases(), "GATTACA", (0, 0)),
        (bases(), "GAT TACA, no?", (1, 6)),
    ],
)
def test_what_tokens_do_not_give_back_is_counted(words, text, expected):
    table = documents(text, "")
    assert count_lost(table, tokens_of(table, words), words) == expected
