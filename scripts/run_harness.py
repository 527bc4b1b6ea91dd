"""Run a model on one task of lm-evaluation-harness, plain and disturbed."""

import json
from pathlib import Path

import torch

from triaxis import harness, provenance, sources, tables
from triaxis.capture import probe_layouts
from triaxis.faults import reporting
from triaxis.models import choose_device, load_model, load_tokenizer
from triaxis.taskruns import Conditions

with reporting(snakemake.log[0]):
    params = snakemake.params
    harness.import_harness()  # a missing package is told before a model is loaded
    torch.set_num_threads(snakemake.threads)
    record = json.loads(Path(snakemake.input.record).read_text())
    sources.verify(record)
    model = load_model(record["folder"], params.dtype, choose_device(params.device), params.random_seed)
    rows = harness.run_harness(
        model,
        probe_layouts(model),
        load_tokenizer(record["folder"]),
        Conditions(**params.conditions),
        snakemake.wildcards.harness,
        params.metric,
        limit=params.limit,
        folder=params.folder,
        batch=params.batch,
    )
    seed = "" if params.random_seed is None else f" random weights, seed {params.random_seed}"
    upstream = {"model": snakemake.wildcards.model, "revision": record["revision"] + seed}
    tables.write_parquet(snakemake.output[0], rows, tables.TASKS, provenance.describe(params, upstream))
