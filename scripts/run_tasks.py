"""Run a model on the prompts of one task, plain and disturbed."""

import json
from pathlib import Path

import torch

from triaxis import prompts, provenance, sources, tables
from triaxis.capture import probe_layouts
from triaxis.faults import reporting
from triaxis.models import choose_device, load_model, load_tokenizer
from triaxis.taskruns import Conditions, run_items

with reporting(snakemake.log[0]):
    params = snakemake.params
    torch.set_num_threads(snakemake.threads)
    record = json.loads(Path(snakemake.input.record).read_text())
    sources.verify(record)
    model = load_model(record["folder"], params.dtype, choose_device(params.device), params.random_seed)
    rows = run_items(
        model,
        probe_layouts(model),
        load_tokenizer(record["folder"]),
        prompts.from_table(tables.read_parquet(snakemake.input.prompts)),
        Conditions(**params.conditions),
        batch=params.batch,
        new_tokens=params.new_tokens,
    )
    upstream = tables.read_metadata(snakemake.input.prompts) | {"model": snakemake.wildcards.model}
    upstream["revision"] += "" if params.random_seed is None else f" random weights, seed {params.random_seed}"
    tables.write_parquet(snakemake.output[0], rows, tables.TASKS, provenance.describe(params, upstream))
