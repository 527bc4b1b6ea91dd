"""The items of the tasks: real sentences, needles, questions, and which of their words may be perturbed."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tokenizers import ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from triaxis.base.errors import UserError
from triaxis.tasks.cloze import cloze_items, last_words
from triaxis.tasks.items import Item, following, from_table, to_table, whole_words
from triaxis.tasks.longbench import f1, question_items, read_questions
from triaxis.tasks.passkey_items import passkey_items, read_filler
from triaxis.tasks.schema import TASK_ITEMS
from triaxis.text.offsets import encode
from triaxis.tolerance.displacement import STAYS, displace

ENDS = ["table", "window", "mountain", "river", "garden", "kitchen", "letter", "winter", "market", "bridge", "village"]
SENTENCE = "In the {a} of the old house {n} people were looking for the {b}. "


def text(number: int, sentences: int = 12) -> str:
    generator = np.random.default_rng(number)
    return "".join(
        SENTENCE.format(a=generator.choice(ENDS), n=int(generator.integers(99)), b=generator.choice(ENDS))
        for _ in range(sentences)
    )


TEXTS = [text(number) for number in range(6)]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    """A byte-level BPE that splits most words into several tokens."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(TEXTS, vocab_size=300, min_frequency=2)
    return PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer)


# Cloze


def test_last_words_are_small_whole_words_at_the_end_of_sentences_that_are_long_enough():
    content = (
        "Yesterday we all went to the market. Then came home. (Applause and some very loud cheering, applause.)\n"
        "I have never in my life met Mr. Smith. Who was it that you saw at the bridge? "
        "We spent all of the money on 3.14 apples! The man of the house is now in the U.S. He left, as he always does"
    )
    found = [(content[start : start + len(word)], word) for start, word in last_words(content)]
    assert found == [("market", "market"), ("bridge", "bridge"), ("apples", "apples")]


def test_cloze_prompts_are_the_text_up_to_a_whole_last_word(tokenizer):
    items = cloze_items(tokenizer, TEXTS, context=40, count=15, candidates=5, seed=0, prefix=[7])
    assert len(items) == 15
    for item in items:
        assert item.tokens.shape == item.words.shape == (40,)
        assert item.tokens[0] == 7 and item.words[0] == STAYS
        before, word = tokenizer.decode(item.tokens[1:]), item.references[0]
        assert any(f"{before} {word}. " in content for content in TEXTS)
        answers = [tokenizer.decode(answer) for answer in item.answers]
        assert answers[0] == f" {word}"
        assert len(set(answers)) == 5 and {answer.strip() for answer in answers} <= set(ENDS)


def test_cloze_is_seeded_and_takes_a_document_after_the_other(tokenizer):
    one, two, other = (cloze_items(tokenizer, TEXTS, context=10, count=6, candidates=5, seed=s) for s in (0, 0, 1))
    assert [item.tokens.tolist() for item in one] == [item.tokens.tolist() for item in two]
    assert [item.tokens.tolist() for item in one] != [item.tokens.tolist() for item in other]
    sources = {
        n for item in one for n, t in enumerate(TEXTS) if f"{tokenizer.decode(item.tokens)} {item.references[0]}." in t
    }
    assert sources == set(range(6))


def test_swapped_context_keeps_its_words_whole(tokenizer):
    item = cloze_items(tokenizer, TEXTS, context=60, count=1, candidates=5, seed=3)[0]
    swapped = tokenizer.decode(item.tokens[displace(item.units("word"), 1, 1, [0]).order])
    plain = tokenizer.decode(item.tokens)
    assert swapped != plain and sorted(swapped.split()) == sorted(plain.split())
    torn = tokenizer.decode(item.tokens[displace(item.units("token"), 1, 1, [0]).order])
    assert sorted(torn.split()) != sorted(plain.split())


def test_too_few_sentences_are_counted(tokenizer):
    with pytest.raises(UserError, match=r"holds \d+ sentences with 40 tokens .* tasks.cloze asks for 1000"):
        cloze_items(tokenizer, TEXTS, context=40, count=1000, candidates=5, seed=0)
    with pytest.raises(UserError, match="holds 0 sentences with 5000 tokens"):
        cloze_items(tokenizer, TEXTS, context=5000, count=1, candidates=5, seed=0)
    with pytest.raises(UserError, match=r"and 11 different last words.*tasks.candidates for 12"):
        cloze_items(tokenizer, TEXTS, context=40, count=1, candidates=12, seed=0)


# Passkey


@pytest.fixture(scope="module")
def passkeys(tokenizer) -> list[Item]:
    filler = read_filler(tokenizer, TEXTS, 500, 0)
    return passkey_items(tokenizer, filler, length=500, depths=[0.2, 0.8], count=3, candidates=4, seed=0, prefix=[7])


def test_passkey_items_hold_the_needle_once_in_real_text(tokenizer, passkeys):
    assert [item.depth for item in passkeys] == [0.2] * 3 + [0.8] * 3
    for item in passkeys:
        content, (key,) = tokenizer.decode(item.tokens[1:]), item.references
        assert len(item.tokens) == 500 and item.tokens[0] == 7
        assert content.count(f"\nThe pass key is {key}. Remember it. {key} is the pass key.\n") == 1
        before, after = content.split(f"\nThe pass key is {key}. Remember it. {key} is the pass key.\n")
        filler = before.split("there.\n", 1)[1] + after.split("\nWhat is")[0]
        assert len(filler) > 200 and any(piece in "".join(TEXTS) for piece in (filler[:100], filler[-100:]))
        assert tokenizer.decode(item.answers[0]) == f" {key}" and len(item.answers) == 4
    assert len({item.references[0] for item in passkeys}) == 6


def test_passkeys_disturb_neither_opening_nor_question_and_keep_keys_whole(tokenizer, passkeys):
    for item in passkeys:
        moved = displace(item.units("word"), 1, 3, [1]).order
        content = tokenizer.decode(item.tokens[moved][1:])
        assert content.startswith("There is an important info")
        assert content.endswith("\nWhat is the pass key? The pass key is")
        assert content.count(item.references[0]) == 2
        assert sorted(content.split()) == sorted(tokenizer.decode(item.tokens[1:]).split())
        assert np.array_equal(np.sort(moved), np.arange(500))


def test_a_word_that_is_cut_stays():
    words = np.array([4, 4, 5, 6, 6, 6, 7, STAYS])
    before, after = whole_words(words, [np.array([1, 2, 3]), np.array([4, 5, 6, 7])])
    assert before.tolist() == [STAYS, 5, STAYS] and after.tolist() == [STAYS, STAYS, 7, STAYS]


# Items as a table, and tokenizers


def test_items_survive_their_table(passkeys):
    table = to_table(passkeys)
    assert table.schema.equals(TASK_ITEMS)
    for item, back in zip(passkeys, from_table(table), strict=True):
        assert np.array_equal(item.tokens, back.tokens) and np.array_equal(item.words, back.words)
        assert (item.context, item.references, item.depth) == (back.context, back.references, back.depth)
        assert [a.tolist() for a in item.answers] == [a.tolist() for a in back.answers]


def test_what_follows_is_encoded_with_what_comes_before(tokenizer):
    before, after = "looking for the", " garden"
    both = encode(tokenizer, before + after)[0]
    assert encode(tokenizer, before)[0] + following(tokenizer, before, after).tolist() == both
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(["abab"] * 9, vocab_size=260, min_frequency=2)
    assert following(PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer), "a", "b") is None


# LongBench


@pytest.mark.parametrize(
    ("prediction", "references", "score"),
    [
        ("The cat sat.", ["a cat sat"], 1.0),
        ("cat", ["the cat sat on mats"], 2 * 1 * 0.25 / 1.25),
        ("dog dog cat", ["dog cat bird"], 2 / 3),
        ("yes", ["no", "Yes!"], 1.0),
        ("", ["something"], 0.0),
        ("blue", ["red"], 0.0),
        ("an answer, in two", ["the answer in TWO parts"], 2 * 1.0 * 0.75 / 1.75),
    ],
)
def test_f1_is_that_of_squad_and_longbench(prediction, references, score):
    assert f1(prediction, references) == pytest.approx(score)


QUESTION = {"input": "Who is in the garden?", "context": TEXTS[0], "answers": ["people", "the people"]}
TEMPLATE = "Read.\n\nArticle: {context}\n\nQuestion: {input}\n\nAnswer:"


def write_jsonl(path: Path, rows: list) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def test_questions_are_read_from_jsonl_and_from_longbenchs_own_zip(tmp_path):
    file = write_jsonl(tmp_path / "qasper.jsonl", [QUESTION, QUESTION | {"input": "Why?"}])
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.write(file, "data/qasper.jsonl")
    for path in (file, tmp_path / "data.zip"):
        assert [question["input"] for question in read_questions(path, "qasper")] == [QUESTION["input"], "Why?"]
    with pytest.raises(UserError, match=r"holds no musique.jsonl: correct tasks.longbench.dataset"):
        read_questions(tmp_path / "data.zip", "musique")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"input": "x", "answers": ["y"]}, "line 2 has no field 'context' that is a str"),
        ({"input": "x", "context": "y", "answers": "z"}, "line 2 has no field 'answers' that is a list"),
        ("{", "line 2 is not JSON"),
        ("[]", "line 2 has no field 'input'"),
    ],
)
def test_a_file_without_its_fields_is_named_by_line(tmp_path, row, words):
    file = write_jsonl(tmp_path / "qasper.jsonl", [QUESTION, row])
    with pytest.raises(UserError, match=words) as caught:
        read_questions(file, "qasper")
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_questions_move_words_of_the_context_only_and_lose_their_middle(tokenizer):
    whole = question_items(tokenizer, [QUESTION], template=TEMPLATE, length=2000, count=1, prefix=[7])[0]
    full = TEMPLATE.replace("{input}", QUESTION["input"]).replace("{context}", QUESTION["context"])
    assert tokenizer.decode(whole.tokens[1:]) == full
    # The space before the first word is the template's, so that word stays.
    inside = tokenizer.decode(whole.tokens[whole.context.start : whole.context.stop])
    assert inside.strip() == QUESTION["context"].strip().removeprefix("In ")
    moved = tokenizer.decode(whole.tokens[displace(whole.words, 1, 2, [0]).order][1:])
    assert moved.startswith("Read.\n\nArticle: ") and moved.endswith("\n\nQuestion: Who is in the garden?\n\nAnswer:")
    assert sorted(moved.split()) == sorted(full.split()) and moved != full
    short = question_items(tokenizer, [QUESTION], template=TEMPLATE, length=100, count=1)[0]
    tokens = encode(tokenizer, full)[0]
    assert short.tokens.tolist() == tokens[:50] + tokens[-50:]
    # The words that the cut went through stay.
    assert len(np.unique(short.words[short.words != STAYS])) > 5
    for word in np.unique(short.words[short.words != STAYS]):
        assert f" {tokenizer.decode(short.tokens[short.words == word]).strip()} " in f"{full} "


def test_too_few_questions_are_refused(tokenizer):
    with pytest.raises(UserError, match=r"tasks.longbench.items 3 is too many: its file holds 1 questions"):
        question_items(tokenizer, [QUESTION], template=TEMPLATE, length=100, count=3)
