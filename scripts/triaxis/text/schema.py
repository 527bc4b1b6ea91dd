"""The columns of what the text stages write."""

import pyarrow as pa

# documents.parquet: a document of the corpus
DOCUMENTS = pa.schema(
    [
        ("document", pa.int32()),  # number of the document, from 0
        ("title", pa.string()),  # the configuration's title column, else file and row
        ("text", pa.large_string()),  # the whole text
        ("characters", pa.int64()),  # Unicode code points in it
        ("sha256", pa.string()),  # digest of the text
    ]
)
# tokens/model=MODEL/tokens.parquet: a document, in the tokens of one tokenizer
TOKENS = pa.schema(
    [
        ("document", pa.int32()),  # number of the document
        ("length", pa.int32()),  # tokens in it
        ("tokens", pa.list_(pa.int32())),  # token ids, without special tokens
        ("texts", pa.list_(pa.string())),  # the characters that each token adds: together they are the document
    ]
)
# sequences/model=MODEL/shard-NNNN.parquet: a sequence that the model reads
SEQUENCES = pa.schema(
    [
        ("sequence", pa.int32()),  # number of the sequence, from 0
        ("document", pa.int32()),  # number of the document that it is a window of; null of a prompt
        ("offset", pa.int32()),  # where the window starts in the document's tokens; null likewise
        ("length", pa.int32()),  # tokens, leading special tokens included
        ("tokens", pa.list_(pa.int32())),  # token ids
        (
            "texts",
            pa.list_(pa.string()),
        ),  # the characters that each token adds; a special token's name; null of a prompt
    ]
)
