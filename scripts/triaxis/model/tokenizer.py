"""A model folder's tokenizer."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from triaxis.base.errors import UserError


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder. Raises UserError if there is none that needs no code of its own."""
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError) as error:
        raise UserError(f"no tokenizer can be loaded from {folder}: {error}") from error
