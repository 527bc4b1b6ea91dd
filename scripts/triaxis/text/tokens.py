"""From documents to tokens, with a model's own tokenizer."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer, models

from triaxis.base.errors import UserError
from triaxis.base.progress import progress
from triaxis.text.schema import TOKENS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A text of one token, for tokenizers that have none for any text we could think of.
MARK = Tokenizer(models.WordLevel({"x": 0}, unk_token="x")).encode("x")


def prefix_of(tokenizer: Tokenizer) -> list[int]:
    """The special tokens that a tokenizer's template puts before a text (a BOS, or nothing)."""
    whole = tokenizer.post_process(MARK)
    return whole.ids[: whole.special_tokens_mask.index(0)]


def prefix_tokens(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The special tokens that this tokenizer puts before any text (a BOS, or nothing)."""
    return prefix_of(tokenizer.backend_tokenizer)


def tokenize(documents: pa.Table, tokenizer: "PreTrainedTokenizerBase", rows: int = 1024) -> Iterator[pa.Table]:
    """Documents -> their tokens, without special tokens, and the text of each, `rows` documents at a time.

    Raises UserError for a document that the tokenizer cannot read.
    """
    for batch in progress(documents.select(["document", "text"]).to_batches(max_chunksize=rows), "tokenise", "batch"):
        texts = batch["text"].to_pylist()
        try:
            encoded = _encode(tokenizer, texts)
        except Exception:  # bare, from the tokenizers library
            encoded = [
                _encode_one(tokenizer, number, text)
                for number, text in zip(batch["document"].to_pylist(), texts, strict=True)
            ]
        yield pa.Table.from_arrays(
            [
                batch["document"],
                pa.array([len(tokens) for tokens, _ in encoded], pa.int32()),
                pa.array([tokens for tokens, _ in encoded], pa.list_(pa.int32())),
                pa.array(
                    [texts_of(text, ends) for text, (_, ends) in zip(texts, encoded, strict=True)],
                    pa.list_(pa.string()),
                ),
            ],
            names=TOKENS.names,
        )


def texts_of(text: str, ends: Sequence[int]) -> list[str]:
    """What each token adds to `text`, which they are together; ends: (tokens,), the end of each in characters.

    What lies before a token and in no other, such as a space that its offsets leave out, is of that token; what follows
    the last one is of the last. A character of several tokens is of the first of them, and the others add nothing.
    """
    stops = [max(end, before) for end, before in zip(ends, [0, *accumulate(ends, max)], strict=False)]
    stops[-1:] = [len(text)] * bool(stops)
    return [text[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]


def _encode(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> list[tuple[list[int], list[int]]]:
    """The tokens of each text, and the end of each in characters."""
    encoded = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ends = ([end for _, end in offsets] for offsets in encoded["offset_mapping"])
    return list(zip(encoded["input_ids"], ends, strict=True))


def _encode_one(tokenizer: "PreTrainedTokenizerBase", number: int, text: str) -> tuple[list[int], list[int]]:
    try:
        return _encode(tokenizer, [text])[0]
    except Exception as error:
        raise UserError(
            f"document {number} cannot be tokenised ({str(error).splitlines()[0]}): give a tokenizer that has an "
            "unknown token, or a corpus of its own words"
        ) from error


def require_rows(
    tokens: pa.Table, prefix: Sequence[int], rows: int | None, tokenizer: "PreTrainedTokenizerBase"
) -> None:
    """Raise UserError if a token of the rows of tokens/, or of the prefix, has no vector among the `rows` that the
    model has; None for a number that is not known."""
    largest = max([pc.max(pc.list_flatten(tokens["tokens"])).as_py() or 0, *prefix])
    if rows is not None and largest >= rows:
        raise UserError(
            f"the text has token {largest}, {tokenizer.convert_ids_to_tokens(largest)!r}, but the model's embedding "
            f"has {rows} rows: name a model whose embedding was enlarged with its tokenizer"
        )


def ordinary_tokens(tokenizer: "PreTrainedTokenizerBase", rows: int | None) -> list[int]:
    """The tokens that a text is made of, ascending: neither special nor unknown, and among the `rows` that the model
    has a vector for; None for a number that is not known."""
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    left_out = special | set(tokenizer.all_special_ids) | _unknown(tokenizer)
    return sorted(
        number
        for number in tokenizer.get_vocab().values()
        if number not in left_out and (rows is None or number < rows)
    )


def count_lost(documents: pa.Table, tokens: pa.Table, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, int]:
    """How many documents their tokens do not give back as they were, and how many characters those lose.

    Each character counts, whatever its place; an unknown token gives nothing back. tokens: rows of tokens/, in the
    order of the documents.
    """
    changed = lost = 0
    unknown = _unknown(tokenizer)
    for place in progress(range(len(documents)), "check tokens", "document"):
        text, own = documents["text"][place].as_py(), tokens["tokens"][place]
        known = [token for token in own.as_py() if token not in unknown]
        again = tokenizer.decode(known, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if again != text:
            changed += 1
            lost += (Counter(text) - Counter(again)).total()
    return changed, lost


def _unknown(tokenizer: "PreTrainedTokenizerBase") -> set[int | None]:
    """The numbers that stand for what the tokenizer does not know."""
    model = tokenizer.backend_tokenizer.model
    named = getattr(model, "unk_token", None)
    own = None if named is None else tokenizer.backend_tokenizer.token_to_id(named)
    return {tokenizer.unk_token_id, own, getattr(model, "unk_id", None)}
