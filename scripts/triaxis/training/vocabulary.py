"""A tokenizer of bytes, or of byte pairs that are merged as they are frequent."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from triaxis.base.errors import UserError


def make_tokenizer(texts: Iterable[str], entries: int | None) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without special tokens: it gives back any text as it was.

    entries: of its vocabulary, by byte-pair encoding trained on `texts` (Sennrich et al. 2016; words are parted as
    GPT-2 does); None for the 256 bytes alone. Raises UserError if the texts do not hold so many pairs.
    """
    bytes_only = {character: number for number, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    own = Tokenizer(models.BPE(vocab=bytes_only, merges=[]))
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=entries is not None)
    own.decoder = decoders.ByteLevel()
    if entries is not None:
        trainer = trainers.BpeTrainer(
            vocab_size=entries, initial_alphabet=sorted(bytes_only), special_tokens=[], show_progress=False
        )
        own.train_from_iterator(texts, trainer)
        if own.get_vocab_size() != entries:
            raise UserError(
                f"training.vocabulary is {entries}, but the training documents give {own.get_vocab_size()} entries: "
                "lower it, or give more text"
            )
    return PreTrainedTokenizerFast(tokenizer_object=own, clean_up_tokenization_spaces=False)
