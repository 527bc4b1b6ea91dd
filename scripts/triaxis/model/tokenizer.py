"""A model folder's tokenizer, as it was published: tokenizer.json is the tokenizer, where there is one.

transformers takes the class of a tokenizer from config.json or tokenizer_config.json, and some classes rebuild what
tokenizer.json says: another split, other spaces, no template. So the file is read by the library that wrote it.
"""

import json
import re
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, normalizers, processors
from transformers import AutoConfig, AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from triaxis.base.errors import UserError
from triaxis.text.tokens import prefix_of

SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# Scripts, spaces, line ends, numbers, emoji, code, and characters of more than one code point.
SAMPLE = (
    "Hello  world,   it's 3.14 o'clock!\n\n\tThe year 2024 cost $1,234,567.89 (that is 20 %).\r\n"
    "Größe, œuvre, naïve, İstanbul, Ελληνικά, Русский, עברית, العربية, हिन्दी, ไทย, 中文字符, 日本語, 한국어. "
    "ﬁ ① Å e\u0301 \u00a0\u200b\u3000 👍🏽 👩‍👩‍👧 🇪🇺 🤗 "
    "def f(x):\n    return {'a': x ** 2, \"b\": [i for i in range(10)]}  # comment\n</s> <s> <unk> <|endoftext|> ▁ Ġ"
)
TIKTOKEN = re.compile(rb"[A-Za-z0-9+/]+=* \d+\r?\n")


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder: that of tokenizer.json; without one, what transformers makes of the other files.

    Raises UserError if there is none, if it needs code of its own or a library that is missing, and if its files
    contradict one another.
    """
    folder = Path(folder)
    config = _read(folder / "tokenizer_config.json")
    if _has_code(config):
        raise UserError(
            f"the tokenizer of {folder} needs code of its own (auto_map in tokenizer_config.json), which is never run: "
            "name a model whose tokenizer.json says it all, or take auto_map out if this one does"
        )
    try:
        return _of_file(folder, config) if (folder / "tokenizer.json").is_file() else _converted(folder, config)
    except UserError:
        raise
    except Exception as error:  # both libraries raise whatever they like, bare Exceptions among it
        raise UserError(
            f"no tokenizer can be loaded from {folder} ({_first_line(error)}): put the model's own tokenizer.json there"
        ) from error


def embedding_rows(folder: str | Path) -> int | None:
    """How many tokens the model of a folder has a vector for; None if its configuration does not say."""
    with suppress(Exception):  # what is wrong with it is said when the model is loaded
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return config.get_text_config().vocab_size
    return None


def _of_file(folder: Path, config: dict[str, Any]) -> PreTrainedTokenizerBase:
    """The tokenizer of tokenizer.json, whole texts at a time, its special tokens named as the other files name them."""
    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    own.no_truncation()
    own.no_padding()
    for number, token in config.get("added_tokens_decoder", {}).items():
        if own.id_to_token(int(number)) != _content(token):
            raise UserError(
                f"{folder}: tokenizer_config.json has {_content(token)!r} as token {number}, tokenizer.json "
                f"{own.id_to_token(int(number))!r}: correct the file that is wrong"
            )
    added = own.get_added_tokens_decoder().values()
    # A name for what is no added token would make it one, and split texts that hold it in another way.
    known = {token.content for token in added}
    named = {name: token for name, token in _special_tokens(folder, config, own).items() if token in known}
    own = _with_bos(own, named.get("bos_token"), config.get("add_bos_token"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=own,
        extra_special_tokens=[
            token.content for token in added if token.special and token.content not in named.values()
        ],
        clean_up_tokenization_spaces=False,
        **named,
    )
    sample = SAMPLE + "".join(sorted(known))
    if _ids(own, sample) != _ids(tokenizer.backend_tokenizer, sample):
        raise UserError(
            f"{folder}: transformers {transformers.__version__} splits texts in another way than its tokenizer.json: "
            "use a version that follows the file"
        )
    return tokenizer


def _ids(tokenizer: Tokenizer, text: str) -> list[int] | None:
    """The tokens of a text as the model gets it; None if the tokenizer cannot read it."""
    try:
        return tokenizer.encode(text).ids
    except Exception:  # bare; said again, by document, if the corpus is such
        return None


def _special_tokens(folder: Path, config: dict[str, Any], own: Tokenizer) -> dict[str, str]:
    """name -> token, as tokenizer_config.json, special_tokens_map.json or the numbers in config.json say."""
    model = _read(folder / "config.json")
    numbers = {name: model.get(f"{name}_id") for name in ("bos_token", "eos_token", "pad_token")}
    tokens = {name: own.id_to_token(number) for name, number in numbers.items() if isinstance(number, int)}
    said = _read(folder / "special_tokens_map.json") | config
    tokens |= {name: _content(said[name]) for name in SPECIAL if said.get(name)}
    return {name: token for name, token in tokens.items() if token}


def _with_bos(own: Tokenizer, bos: str | None, wanted: bool | None) -> Tokenizer:
    """`own` with or without `bos` before a text, if tokenizer_config.json says which: publishers correct templates
    there, and transformers follows."""
    number = None if bos is None else own.token_to_id(bos)
    if number is None or wanted is None or wanted == (number in prefix_of(own)):
        return own
    if wanted:
        template = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, number)])
        own.post_processor = processors.Sequence([own.post_processor, template]) if own.post_processor else template
        return own
    content = json.loads(own.to_str())
    whole = content["post_processor"]
    for processor in whole.get("processors", [whole]):
        parts = processor.get("single", [])
        processor["single"] = [part for part in parts if part.get("SpecialToken", {}).get("id") != bos]
    return Tokenizer.from_str(json.dumps(content))


def _converted(folder: Path, config: dict[str, Any]) -> PreTrainedTokenizerBase:
    """The tokenizer that transformers makes of a folder without tokenizer.json."""
    if (folder / "tokenizer.model").is_file():
        return _of_pieces(folder, config)
    if not any((folder / name).is_file() for name in ("vocab.json", "vocab.txt")):
        raise UserError(
            f"no tokenizer can be loaded from {folder}, it has none: put the model's own tokenizer.json there"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer of {folder} is a {type(tokenizer).__name__}, which does not say which characters a token "
            "has: save it as tokenizer.json there"
        )
    return tokenizer


def _of_pieces(folder: Path, config: dict[str, Any]) -> PreTrainedTokenizerBase:
    """The tokenizer of a SentencePiece model, the first that splits as SentencePiece itself does."""
    file = folder / "tokenizer.model"
    with file.open("rb") as content:
        if TIKTOKEN.fullmatch(content.readline(4096)):
            raise UserError(
                f"{file} is a tiktoken file, which does not say how texts are split: put the model's own "
                "tokenizer.json beside it"
            )
    if not (_installed("sentencepiece") and _installed("google.protobuf")):
        raise UserError(
            f"{file} is read by the packages sentencepiece and protobuf, which are not both installed: install them, "
            "or put the model's own tokenizer.json beside it"
        )
    import sentencepiece

    try:
        own = sentencepiece.SentencePieceProcessor(model_file=str(file))
    except RuntimeError:
        raise UserError(f"{file} is not a SentencePiece model: fetch it again") from None
    if own.bos_id() >= 0 and "add_bos_token" not in config:
        raise UserError(
            f"{file} does not say whether texts begin with {own.id_to_piece(own.bos_id())}: put the model's own "
            "tokenizer.json beside it, or a tokenizer_config.json with add_bos_token"
        )
    texts = [SAMPLE.partition("</s>")[0], "  two spaces before"]
    for make in (AutoTokenizer.from_pretrained, _as_llama):
        tokenizer = make(folder, local_files_only=True, trust_remote_code=False)
        if tokenizer.is_fast and tokenizer(texts, add_special_tokens=False).input_ids == own.encode(texts):
            return tokenizer
    raise UserError(
        f"transformers {transformers.__version__} splits texts in another way than {file}: put the model's own "
        "tokenizer.json beside it"
    )


def _as_llama(folder: Path, **options: Any) -> PreTrainedTokenizerBase:
    """A SentencePiece model as the tokenizer.json of Llama 2 has it: a space before any text, even before a space."""
    tokenizer = LlamaTokenizer.from_pretrained(folder, **options)
    own = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    own.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    own.pre_tokenizer = None
    named = {name: getattr(tokenizer, name) for name in SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=own, clean_up_tokenization_spaces=False, **named)


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _has_code(config: dict[str, Any]) -> bool:
    code = config.get("auto_map", {})
    return bool(code.get("AutoTokenizer") if isinstance(code, dict) else code)


def _content(token: str | dict[str, Any]) -> str:
    """A special token as a file has it: its text, or an object with it."""
    return token["content"] if isinstance(token, dict) else token


def _read(file: Path) -> dict[str, Any]:
    """The object of a JSON file; empty for one that is not there."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not JSON ({_first_line(error)}): fetch it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} is not a JSON object: fetch it again")
    return content


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
