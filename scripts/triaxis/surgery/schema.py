"""The columns of the surgery's stages."""

import pyarrow as pa

# calibration/model=MODEL/parameters.parquet: a pair's constants in one additive form
CALIBRATION = pa.schema(
    [
        ("layer", pa.int16()),  # layer, from 0
        ("head", pa.int16()),  # query head, from 0
        ("form", pa.string()),  # the additive form
        ("pair", pa.int16()),  # number of the rotary pair, as in rope/
        ("key_real", pa.float64()),  # the constant key, real part
        ("key_imaginary", pa.float64()),  # and imaginary part
        ("turn_real", pa.float64()),  # the constant turn, real part
        ("turn_imaginary", pa.float64()),  # and imaginary part
    ]
)
# surgery/model=MODEL/surgery.parquet: a run on additive logits, of one sequence
SURGERY = pa.schema(
    [
        ("sequence", pa.int32()),  # number of the sequence, from 0
        ("variant", pa.string()),  # what replaces the logits
        (
            "scope",
            pa.string(),
        ),  # 'all', 'selection' (all, other sequences), 'layer', 'from_first', 'from_last', 'head'
        ("layer", pa.int16()),  # the layer of the scope; null for all and selection
        ("head", pa.int16()),  # the head of the scope; null but for head
        ("loss", pa.float64()),  # nats a token
        ("perplexity", pa.float64()),  # exp of the loss
        ("agreement", pa.float64()),  # share of positions with the plain model's most likely next token
        ("kl", pa.float64()),  # KL(plain || surgery) of the next token, nats
    ]
)
# bands/model=MODEL/bands.parquet: a run with one band of frequencies changed, of one sequence
BANDS = pa.schema(
    [
        ("sequence", pa.int32()),  # number of the sequence, from 0
        ("change", pa.string()),  # what becomes of the band's pairs; none: the plain run
        ("low", pa.float64()),  # least turns over the sequence of a pair of the band; null for none
        ("high", pa.float64()),  # what they stay below; null for none
        ("layers", pa.string()),  # the changed part of the depth: 'all', or 'first', 'middle' or 'last third'
        ("first_layer", pa.int16()),  # its first layer
        ("last_layer", pa.int16()),  # its last layer
        ("pairs", pa.float64()),  # pairs of the band in a layer of it, mean
        ("loss", pa.float64()),  # nats a token
        ("perplexity", pa.float64()),  # exp of the loss
        ("agreement", pa.float64()),  # share of positions with the plain model's most likely next token
        ("kl", pa.float64()),  # KL(plain || changed) of the next token, nats
    ]
)
