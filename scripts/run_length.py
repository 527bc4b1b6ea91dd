"""Run a model at each length by one method: its losses, attention, outputs, components, passkeys and costs."""

import json
from pathlib import Path

import pyarrow as pa
import torch

from triaxis.attention.layout import probe_layouts
from triaxis.base import parquet
from triaxis.base.errors import reporting
from triaxis.length import schema
from triaxis.length.run import LengthPlan, Runner, check_lengths, make_method, run_lengths, run_passkeys
from triaxis.model.devices import choose_device
from triaxis.model.loading import load_model, run_metadata, training_length_of
from triaxis.model.published import read_config
from triaxis.model.tokenizer import load_tokenizer
from triaxis.text import sources
from triaxis.text.joined import read_joined

with reporting(snakemake.log[0]) as log:
    params, options = snakemake.params, snakemake.params.options
    torch.set_num_threads(snakemake.threads)
    record = json.loads(Path(snakemake.input.record).read_text())
    sources.verify(record)
    folder, name = record["folder"], snakemake.wildcards.method
    own_length = options["training_length"]
    if own_length is None:
        own_length = training_length_of(read_config(folder))
    lengths = check_lengths(options["lengths"], own_length)
    method = make_method(name, options, own_length, lengths[-1])
    model = load_model(
        folder, params.dtype, choose_device(params.device), params.random_seed, rope_scaling=method.rope_scaling
    )
    runner = Runner(model, probe_layouts(model), method)

    tokens = read_joined(snakemake.input.sequences)
    upstream = parquet.read_metadata(snakemake.input.sequences) | {"model": snakemake.wildcards.model}
    metadata = run_metadata(params, upstream) | {
        "training_length": str(own_length),
        "training_length_is": "the model's own" if options["training_length"] is None else "an override",
    }
    plan = LengthPlan(lengths, own_length, options["positions"], options["bucket"], options["seed"])
    found = run_lengths(runner, tokens, plan)
    parquet.write_parquet(snakemake.output.outputs, found.outputs, found.outputs[0].schema, metadata)

    corpus = parquet.read_parquet(snakemake.input.tokens)
    tokenizer = load_tokenizer(folder)
    passkey = options["passkey"]
    found.passkeys = run_passkeys(
        runner,
        lambda text: tokenizer(text, add_special_tokens=False).input_ids,
        corpus["tokens"].combine_chunks().flatten().to_numpy(),
        json.loads(parquet.read_metadata(snakemake.input.tokens)["prefix"]),
        passkey["lengths"],
        passkey["depths"],
        passkey["trials"],
        options["seed"],
    )
    for stage in ("losses", "attention", "passkeys", "costs"):
        columns = getattr(schema, stage.upper())
        table = pa.Table.from_pylist(getattr(found, stage), schema=columns)
        parquet.write_parquet(getattr(snakemake.output, stage), table, columns, metadata)
    parquet.write_parquet(snakemake.output.components, found.components, schema.COMPONENTS, metadata)
