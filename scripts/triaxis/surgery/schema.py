"""The columns of the surgery's stages."""

import pyarrow as pa

CALIBRATION = pa.schema(
    [
        ("layer", pa.int16()),
        ("head", pa.int16()),
        ("form", pa.string()),
        ("pair", pa.int16()),
        ("key_real", pa.float64()),
        ("key_imaginary", pa.float64()),
        ("turn_real", pa.float64()),
        ("turn_imaginary", pa.float64()),
    ]
)
SURGERY = pa.schema(
    [
        ("sequence", pa.int32()),
        ("variant", pa.string()),
        ("scope", pa.string()),
        ("layer", pa.int16()),
        ("head", pa.int16()),
        ("loss", pa.float64()),
        ("perplexity", pa.float64()),
        ("agreement", pa.float64()),
        ("kl", pa.float64()),
    ]
)
