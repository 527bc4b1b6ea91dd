"""Replace a model's logits by additive ones or a control's, as a whole and in steps, and measure what it loses."""

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from triaxis.attention.layout import probe_layouts
from triaxis.base import parquet, provenance
from triaxis.base.errors import reporting
from triaxis.model.loading import open_model
from triaxis.surgery import additive
from triaxis.surgery.run import run_surgery
from triaxis.surgery.schema import SURGERY


def tokens_of(sequences: pa.Table) -> tuple[NDArray[np.int32], list[int]]:
    """The tokens (sequences, length) of rows of sequences/, and their numbers."""
    return np.array(sequences["tokens"].to_pylist(), dtype=np.int32), sequences["sequence"].to_pylist()


with reporting(snakemake.log[0]) as log:
    params, options = snakemake.params, snakemake.params.surgery
    torch.set_num_threads(snakemake.threads)
    sequences = parquet.read_parquet(snakemake.input.sequences).slice(0, options["sequences"])
    selection = parquet.read_parquet(snakemake.input.others).slice(params.calibration)
    model = open_model(snakemake.input.record, params, params.random_seed)
    rows = run_surgery(
        model,
        probe_layouts(model),
        *tokens_of(sequences),
        tokens_of(selection),
        additive.from_table(parquet.read_parquet(snakemake.input.parameters)),
        batch_tokens=params.batch_tokens,
        stepwise=options["stepwise"],
        step_sequences=options["step_sequences"],
        heads_of_layers=options["heads_of_layers"],
    )
    metadata = provenance.describe(params, parquet.read_metadata(snakemake.input.parameters))
    parquet.write_parquet(snakemake.output[0], rows, SURGERY, metadata)
